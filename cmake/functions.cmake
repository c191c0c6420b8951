# cm_embed_profiles(target file…): the shipped profiles become one C table in the program, so that an installed
# certmill needs no data directory. Generated as cm_profiles_embedded.c beside the build.
function(cm_embed_profiles target)
  set(out ${CMAKE_CURRENT_BINARY_DIR}/cm_profiles_embedded.c)
  set(files "")
  foreach(f ${ARGN})
    list(APPEND files ${CMAKE_CURRENT_SOURCE_DIR}/${f})
  endforeach()
  string(JOIN "," joined ${files})
  add_custom_command(OUTPUT ${out}
    COMMAND ${CMAKE_COMMAND} -DOUT=${out} -DFILES=${joined} -P ${CMAKE_CURRENT_SOURCE_DIR}/cmake/embed.cmake
    DEPENDS ${files} ${CMAKE_CURRENT_SOURCE_DIR}/cmake/embed.cmake
    VERBATIM)
  target_sources(${target} PRIVATE ${out})
endfunction()
