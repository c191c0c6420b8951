# cm_embed(target SYMBOL symbol TYPE type HEADER header FILES file…): text files become one C table SYMBOL[] of
# `struct TYPE { name, text }` in the program, with SYMBOL_count rows, so that an installed certmill needs no data
# directory. Generated as SYMBOL.c beside the build; files are relative to the current directory.
function(cm_embed target)
  cmake_parse_arguments(EMBED "" "SYMBOL;TYPE;HEADER" "FILES" ${ARGN})
  set(out ${CMAKE_CURRENT_BINARY_DIR}/${EMBED_SYMBOL}.c)
  set(files "")
  foreach(f ${EMBED_FILES})
    list(APPEND files ${CMAKE_CURRENT_SOURCE_DIR}/${f})
  endforeach()
  string(JOIN "," joined ${files})
  add_custom_command(OUTPUT ${out}
    COMMAND ${CMAKE_COMMAND} -DOUT=${out} -DSYMBOL=${EMBED_SYMBOL} -DTYPE=${EMBED_TYPE} -DHEADER=${EMBED_HEADER}
      -DFILES=${joined} -P ${PROJECT_SOURCE_DIR}/cmake/embed.cmake
    DEPENDS ${files} ${PROJECT_SOURCE_DIR}/cmake/embed.cmake
    VERBATIM)
  target_sources(${target} PRIVATE ${out})
endfunction()
