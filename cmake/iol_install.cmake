# `cmake --install`: the program, the library with its headers and package files, the demo models, the baseline.
# Component `program` is what runs without a compiler; `libraries`, which only a bundle takes (tools/bundle.sh), is
# what the program needs beyond glibc and a GPU's driver.
include(CMakePackageConfigHelpers)

# A bundle's libraries lie in ../lib; elsewhere the system's are found.
set_target_properties(iol PROPERTIES INSTALL_RPATH "$ORIGIN/../lib")
install(TARGETS iol RUNTIME_DEPENDENCY_SET iol_libraries
        RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT program)
install(RUNTIME_DEPENDENCY_SET iol_libraries
        PRE_EXCLUDE_REGEXES "^ld-linux" "^lib(c|m|dl|rt|pthread)\\.so"
        LIBRARY DESTINATION lib COMPONENT libraries EXCLUDE_FROM_ALL)
install(TARGETS iol_core iol_dependencies_public iol_dependencies_private EXPORT iolTargets
        ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY src/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/iol FILES_MATCHING PATTERN "*.h")
install(DIRECTORY models/ DESTINATION ${CMAKE_INSTALL_DATADIR}/iol/models COMPONENT program)
install(DIRECTORY baseline/ DESTINATION ${CMAKE_INSTALL_DATADIR}/iol/baseline COMPONENT program
        PATTERN "__pycache__" EXCLUDE)
install(FILES economics/prices.toml DESTINATION ${CMAKE_INSTALL_DATADIR}/iol/economics
        COMPONENT program)

set(config_folder ${CMAKE_INSTALL_LIBDIR}/cmake/iol)
install(EXPORT iolTargets NAMESPACE iol:: DESTINATION ${config_folder})
configure_package_config_file(cmake/iolConfig.cmake.in ${CMAKE_BINARY_DIR}/iolConfig.cmake
                              INSTALL_DESTINATION ${config_folder})
write_basic_package_version_file(${CMAKE_BINARY_DIR}/iolConfigVersion.cmake
                                 COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/iolConfig.cmake ${CMAKE_BINARY_DIR}/iolConfigVersion.cmake
        DESTINATION ${config_folder})
