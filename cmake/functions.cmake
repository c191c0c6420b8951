# cm_embed(target SYMBOL symbol TYPE type HEADER header [FULL_NAMES] FILES file…): text files become one C table SYMBOL[] of
# `struct TYPE { name, text }` in the program, with SYMBOL_count rows, so that an installed certmill needs no data
# directory; the name is without the suffix, unless FULL_NAMES. Generated as SYMBOL.c beside the build; files are relative to the current directory.
function(cm_embed target)
  cmake_parse_arguments(EMBED "FULL_NAMES" "SYMBOL;TYPE;HEADER" "FILES" ${ARGN})
  set(out ${CMAKE_CURRENT_BINARY_DIR}/${EMBED_SYMBOL}.c)
  set(files "")
  foreach(f ${EMBED_FILES})
    list(APPEND files ${CMAKE_CURRENT_SOURCE_DIR}/${f})
  endforeach()
  string(JOIN "," joined ${files})
  add_custom_command(OUTPUT ${out}
    COMMAND ${CMAKE_COMMAND} -DOUT=${out} -DSYMBOL=${EMBED_SYMBOL} -DTYPE=${EMBED_TYPE} -DHEADER=${EMBED_HEADER} -DFULL_NAMES=${EMBED_FULL_NAMES}
      -DFILES=${joined} -P ${PROJECT_SOURCE_DIR}/cmake/embed.cmake
    DEPENDS ${files} ${PROJECT_SOURCE_DIR}/cmake/embed.cmake
    VERBATIM)
  # Standard C promises no literals of more than 4095 characters; every compiler here has them.
  set_source_files_properties(${out} PROPERTIES COMPILE_OPTIONS -Wno-overlength-strings)
  target_sources(${target} PRIVATE ${out})
endfunction()
