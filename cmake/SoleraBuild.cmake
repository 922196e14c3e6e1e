# Flags for every target, and the two functions that turn a folder into a room or its tests.

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release)
endif()
set(CMAKE_CXX_FLAGS_RELEASE "-O2 -DNDEBUG")
set(CMAKE_CXX_FLAGS_DEBUG "-Og -g1")

find_program(SOLERA_CCACHE ccache)
if(SOLERA_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${SOLERA_CCACHE})
endif()

# Contraction is off so that every CPU and compiler gives the same bits (docs/reliability.md).
add_compile_options(-Wall -Wextra -Wpedantic -Wshadow -Wno-missing-field-initializers -ffp-contract=off)
if(SOLERA_WERROR)
  add_compile_options(-Werror)
endif()
if(SOLERA_SANITIZE)
  add_compile_options(-fsanitize=${SOLERA_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${SOLERA_SANITIZE})
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    add_compile_options(-Wno-maybe-uninitialized)  # GCC 12 warns within std::regex when it is instrumented
  endif()
endif()

# solera_room(NAME LIBRARIES...): every .cpp of the current folder as the static library solera_NAME,
# visible as "solera/NAME/header.h".
function(solera_room name)
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cpp)
  if(NOT sources)
    set(sources ${CMAKE_BINARY_DIR}/empty.cpp)
    file(TOUCH ${sources})
  endif()
  add_library(solera_${name} STATIC ${sources})
  target_include_directories(solera_${name} PUBLIC
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}> $<INSTALL_INTERFACE:include>)
  target_compile_features(solera_${name} PUBLIC cxx_std_20)
  target_link_libraries(solera_${name} PUBLIC ${ARGN})
endfunction()

# solera_tests(ROOM LIBRARIES...): every *_test.cpp of the current folder as the program test_ROOM, each
# test its own CTest entry with the label "quick".
function(solera_tests room)
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*_test.cpp)
  if(NOT sources)
    return()
  endif()
  add_executable(test_${room} ${sources})
  target_link_libraries(test_${room} PRIVATE ${ARGN} solera_test_support GTest::gtest_main GTest::gmock)
  target_compile_definitions(test_${room} PRIVATE
    SOLERA_SOURCE_DIR="${PROJECT_SOURCE_DIR}" SOLERA_BINARY_DIR="${CMAKE_BINARY_DIR}")
  gtest_discover_tests(test_${room} TEST_PREFIX ${room}. DISCOVERY_TIMEOUT 60 PROPERTIES LABELS quick)
endfunction()

# solera_programs_below(FOLDER RESULT): the executables that FOLDER and its subfolders define.
function(solera_programs_below folder result)
  set(found)
  get_property(targets DIRECTORY ${folder} PROPERTY BUILDSYSTEM_TARGETS)
  foreach(target ${targets})
    get_target_property(type ${target} TYPE)
    if(type STREQUAL EXECUTABLE)
      list(APPEND found ${target})
    endif()
  endforeach()
  get_property(subfolders DIRECTORY ${folder} PROPERTY SUBDIRECTORIES)
  foreach(subfolder ${subfolders})
    solera_programs_below(${subfolder} below)
    list(APPEND found ${below})
  endforeach()
  set(${result} ${found} PARENT_SCOPE)
endfunction()
