# cmake -DNM=… -DFILE=… -P whole.cmake: a shared object may leave symbols to the program that loads it, but none of ours.
execute_process(COMMAND ${NM} --dynamic --undefined-only ${FILE} OUTPUT_VARIABLE symbols RESULT_VARIABLE result)
if(NOT result EQUAL 0)
  message(FATAL_ERROR "${NM} can't read ${FILE}: ${result}")
endif()
string(REGEX MATCHALL "cm_[a-zA-Z0-9_]+" missing "${symbols}")
if(missing)
  list(JOIN missing " " missing)
  file(REMOVE ${FILE}) # or the next build would take it for done
  message(FATAL_ERROR "${FILE} lacks ${missing}: add the files that define them to its list of sources in CMakeLists.txt")
endif()
