# Writes iol_build_info.h at every build: what a record needs to say which program made it. The file
# changes, and with it one object, only when the revision or a flag does.
function(iol_add_build_info target)
  set(folder ${CMAKE_BINARY_DIR}/generated)
  set(header ${folder}/iol_build_info.h)
  string(TOUPPER "${CMAKE_BUILD_TYPE}" build_type)
  add_custom_target(iol_build_info BYPRODUCTS ${header} COMMAND
    ${CMAKE_COMMAND} -DHEADER=${header} -DSOURCE_DIR=${CMAKE_SOURCE_DIR}
      "-DCOMPILER=${CMAKE_CXX_COMPILER_ID} ${CMAKE_CXX_COMPILER_VERSION}"
      "-DFLAGS=${CMAKE_CXX_FLAGS} ${CMAKE_CXX_FLAGS_${build_type}}"
      "-DBUILD_TYPE=${CMAKE_BUILD_TYPE}" "-DSANITIZE=${IOL_SANITIZE}"
      -P ${CMAKE_SOURCE_DIR}/cmake/iol_write_build_info.cmake
    VERBATIM)
  add_dependencies(${target} iol_build_info)
  target_include_directories(${target} PRIVATE ${folder})
endfunction()
