# Installs into a prefix of its own, builds tests/package/consumer against it and checks what that prints.
set(work ${SOLERA_BINARY_DIR}/package)
set(prefix ${work}/prefix)
file(REMOVE_RECURSE ${work})

function(must)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE status OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(NOT status EQUAL 0)
    message(FATAL_ERROR "failed (${status}): ${ARGN}\n${output}")
  endif()
endfunction()

must(${CMAKE_COMMAND} --install ${SOLERA_BINARY_DIR} --prefix ${prefix})
must(${CMAKE_COMMAND} -S ${CONSUMER} -B ${work}/build -DCMAKE_PREFIX_PATH=${prefix} -DCMAKE_CXX_COMPILER=${CXX}
  -DCMAKE_BUILD_TYPE=Release)
must(${CMAKE_COMMAND} --build ${work}/build)

execute_process(COMMAND ${work}/build/consumer OUTPUT_VARIABLE printed COMMAND_ERROR_IS_FATAL ANY)
if(NOT printed STREQUAL "linear among the methods; 6.7 GB\n")
  message(FATAL_ERROR "the consumer printed: ${printed}")
endif()

execute_process(COMMAND ${prefix}/bin/solera --version OUTPUT_VARIABLE version COMMAND_ERROR_IS_FATAL ANY)
if(NOT version MATCHES "^solera [0-9]+\\.[0-9]+\\.[0-9]+\n$")
  message(FATAL_ERROR "the installed program printed: ${version}")
endif()

foreach(file bash-completion/completions/solera zsh/site-functions/_solera fish/vendor_completions.d/solera.fish
    man/man1/solera.1 solera/recipes doc/Solera/LICENSE)
  if(NOT EXISTS ${prefix}/share/${file})
    message(FATAL_ERROR "not installed: share/${file}")
  endif()
endforeach()
