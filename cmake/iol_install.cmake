# `cmake --install`: the program, the library with its headers and package files, the demo models, the baseline.
include(CMakePackageConfigHelpers)

install(TARGETS iol RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(TARGETS iol_core iol_dependencies_public iol_dependencies_private EXPORT iolTargets
        ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY src/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/iol FILES_MATCHING PATTERN "*.h")
install(DIRECTORY models/ DESTINATION ${CMAKE_INSTALL_DATADIR}/iol/models)
install(DIRECTORY baseline/ DESTINATION ${CMAKE_INSTALL_DATADIR}/iol/baseline
        PATTERN "__pycache__" EXCLUDE)

install(FILES economics/prices.toml DESTINATION ${CMAKE_INSTALL_DATADIR}/iol/economics)

set(config_folder ${CMAKE_INSTALL_LIBDIR}/cmake/iol)
install(EXPORT iolTargets NAMESPACE iol:: DESTINATION ${config_folder})
configure_package_config_file(cmake/iolConfig.cmake.in ${CMAKE_BINARY_DIR}/iolConfig.cmake
                              INSTALL_DESTINATION ${config_folder})
write_basic_package_version_file(${CMAKE_BINARY_DIR}/iolConfigVersion.cmake
                                 COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/iolConfig.cmake ${CMAKE_BINARY_DIR}/iolConfigVersion.cmake
        DESTINATION ${config_folder})
