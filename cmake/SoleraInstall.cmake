# Installs the program, the core's headers and libraries, and what a project needs to say find_package(Solera).

include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(SOLERA_CMAKE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/Solera)
set(SOLERA_SHARE_DIR ${CMAKE_INSTALL_DATADIR}/solera)

# The rooms as Solera::base, Solera::checkpoint, ...; Solera::core is all of them.
foreach(room base checkpoint weights merge search soup recipe)
  set_target_properties(solera_${room} PROPERTIES EXPORT_NAME ${room})
  install(TARGETS solera_${room} EXPORT SoleraTargets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
  install(DIRECTORY solera/${room} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/solera FILES_MATCHING PATTERN "*.h")
endforeach()
set_target_properties(solera_core PROPERTIES EXPORT_NAME core)
install(TARGETS solera_core EXPORT SoleraTargets)

install(EXPORT SoleraTargets NAMESPACE Solera:: DESTINATION ${SOLERA_CMAKE_DIR})
configure_package_config_file(cmake/SoleraConfig.cmake.in ${CMAKE_BINARY_DIR}/SoleraConfig.cmake
  INSTALL_DESTINATION ${SOLERA_CMAKE_DIR})
write_basic_package_version_file(${CMAKE_BINARY_DIR}/SoleraConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/SoleraConfig.cmake ${CMAKE_BINARY_DIR}/SoleraConfigVersion.cmake
  DESTINATION ${SOLERA_CMAKE_DIR})

install(TARGETS solera RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(DIRECTORY recipes/ DESTINATION ${SOLERA_SHARE_DIR}/recipes)
install(FILES LICENSE NOTICE README.md DESTINATION ${CMAKE_INSTALL_DOCDIR})

# The program writes its own completions and manual page.
install(CODE "
  function(solera_prints file)
    set(path \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_DATADIR}/\${file}\")
    get_filename_component(folder \"\${path}\" DIRECTORY)
    file(MAKE_DIRECTORY \"\${folder}\")
    execute_process(COMMAND \"$<TARGET_FILE:solera>\" \${ARGN} OUTPUT_FILE \"\${path}\" COMMAND_ERROR_IS_FATAL ANY)
    message(STATUS \"Installing: \${path}\")
  endfunction()
  solera_prints(bash-completion/completions/solera completion bash)
  solera_prints(zsh/site-functions/_solera completion zsh)
  solera_prints(fish/vendor_completions.d/solera.fish completion fish)
  solera_prints(man/man1/solera.1 help --man)
")
