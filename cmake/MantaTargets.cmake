# The few functions that the folders' CMakeLists.txt are written in.

# manta_library(rpc SOURCES a.cc ... LINKS manta_base ... [PRIVATE_LINKS ...])
# One static library per folder: manta_rpc. SOURCES may be empty, and be added to by target_sources.
# The twin manta_rpc_mutants is the same code with MANTA_MUTANTS defined (base/rule.h); it is built only if a
# test links it.
function(manta_library folder)
  cmake_parse_arguments(arg "" "" "SOURCES;LINKS;PRIVATE_LINKS" ${ARGN})
  set(empty ${CMAKE_BINARY_DIR}/generated/empty.cc)
  if(NOT EXISTS ${empty})
    file(WRITE ${empty} "")
  endif()
  add_library(manta_${folder} STATIC ${empty} ${arg_SOURCES})
  manta_library_properties(manta_${folder} LINKS ${arg_LINKS} PRIVATE_LINKS ${arg_PRIVATE_LINKS})

  set(links)
  foreach(link ${arg_LINKS})
    if(TARGET ${link}_mutants)
      set(link ${link}_mutants)
    endif()
    list(APPEND links ${link})
  endforeach()
  add_library(manta_${folder}_mutants STATIC EXCLUDE_FROM_ALL $<TARGET_PROPERTY:manta_${folder},SOURCES>)
  manta_library_properties(manta_${folder}_mutants LINKS ${links} PRIVATE_LINKS ${arg_PRIVATE_LINKS})
  target_compile_definitions(manta_${folder}_mutants PUBLIC MANTA_MUTANTS)
endfunction()

function(manta_library_properties name)
  cmake_parse_arguments(arg "" "" "LINKS;PRIVATE_LINKS" ${ARGN})
  target_include_directories(${name} PUBLIC ${PROJECT_SOURCE_DIR})
  target_include_directories(${name} SYSTEM PUBLIC ${CMAKE_BINARY_DIR}/generated)
  target_compile_options(${name} PRIVATE ${MANTA_COMPILE_OPTIONS})
  target_link_libraries(${name} PUBLIC ${arg_LINKS} PRIVATE ${arg_PRIVATE_LINKS})
endfunction()

# How many tests run at once: a job of ctest is half a core (dev starts two for each). A test takes both halves, unless
# it spends its time waiting for processes that do, too.
set(MANTA_JOBS_PER_CORE 2)

# manta_test(rpc_test SOURCES frame_test.cc ... LIBS manta_rpc [TIMEOUT 60] [WHOLE] [ONE_THREAD] [WAITS] [LABELS ...])
# A gtest program; each of its cases is a ctest test named rpc_test.Suite.Case (WHOLE: the program is one test;
# ONE_THREAD: TSan has nothing to see in it, and its build leaves it out; WAITS: takes half a core).
function(manta_test name)
  if(NOT MANTA_TESTS)
    return()
  endif()
  cmake_parse_arguments(arg "WHOLE;ONE_THREAD;WAITS" "TIMEOUT" "SOURCES;LIBS;LABELS" ${ARGN})
  if(NOT arg_SOURCES OR (arg_ONE_THREAD AND MANTA_SANITIZE STREQUAL "thread"))
    return()
  endif()
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 60)
  endif()
  add_executable(${name} ${arg_SOURCES})
  target_compile_options(${name} PRIVATE ${MANTA_COMPILE_OPTIONS})
  target_link_libraries(${name} PRIVATE ${arg_LIBS} GTest::gmock GTest::gtest GTest::gtest_main)
  set(properties TIMEOUT ${arg_TIMEOUT})
  if(NOT arg_WAITS)
    list(APPEND properties PROCESSORS ${MANTA_JOBS_PER_CORE})
  endif()
  if(arg_LABELS)
    list(APPEND properties LABELS "${arg_LABELS}")
  endif()
  if(arg_WHOLE)
    add_test(NAME ${name} COMMAND ${name})
    set_tests_properties(${name} PROPERTIES ${properties})
  else()
    gtest_discover_tests(${name} TEST_PREFIX ${name}. DISCOVERY_MODE PRE_TEST DISCOVERY_TIMEOUT 30 PROPERTIES
                         ${properties})
  endif()
endfunction()

# manta_program(manta SOURCES ... LIBS ...): an executable in bin/, baseline x86-64.
function(manta_program name)
  cmake_parse_arguments(arg "" "" "SOURCES;LIBS" ${ARGN})
  if(NOT arg_SOURCES)
    return()
  endif()
  add_executable(${name} ${arg_SOURCES})
  target_compile_options(${name} PRIVATE ${MANTA_COMPILE_OPTIONS})
  target_link_libraries(${name} PRIVATE ${arg_LIBS})
endfunction()

# manta_example(hello SOURCES hello.cc [LIBS ...] [ARGS ...] [EXPECT "regex"] [TIMEOUT 60])
# A user's program in bin/: -O3 -march=native, linked with manta::manta; ctest runs it with ARGS as example.hello.
# LIBS replaces manta::manta. NO_TEST: built, not run.
function(manta_example name)
  cmake_parse_arguments(arg "NO_TEST" "EXPECT;TIMEOUT" "SOURCES;LIBS;ARGS" ${ARGN})
  if(NOT arg_LIBS)
    set(arg_LIBS manta::manta)
  endif()
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 60)
  endif()
  manta_program(${name} SOURCES ${arg_SOURCES} LIBS ${arg_LIBS})
  if(NOT MANTA_SANITIZE)
    target_compile_options(${name} PRIVATE -O3 -march=native)
    if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
      # False positives of gcc 12 in its own AVX-512 headers.
      target_compile_options(${name} PRIVATE -Wno-uninitialized -Wno-maybe-uninitialized)
    endif()
  endif()
  if(MANTA_TESTS AND NOT arg_NO_TEST)
    add_test(NAME example.${name} COMMAND ${name} ${arg_ARGS})
    set_tests_properties(example.${name} PROPERTIES TIMEOUT ${arg_TIMEOUT} PROCESSORS ${MANTA_JOBS_PER_CORE})
    if(arg_EXPECT)
      set_tests_properties(example.${name} PROPERTIES PASS_REGULAR_EXPRESSION "${arg_EXPECT}")
    endif()
  endif()
endfunction()

# manta_bench(name SOURCES ... LIBS ...): a benchmark in bin/, -O3 -march=native; not run by ctest.
function(manta_bench name)
  manta_example(${name} NO_TEST ${ARGN})
endfunction()

# manta_capnp(manta_rpc_schema SCHEMAS schema/task.capnp ...): compiles schemas; "rpc/schema/task.capnp.h" in the
# include path. A target of its own, without our warnings: the code is not ours.
function(manta_capnp name)
  cmake_parse_arguments(arg "" "" "SCHEMAS" ${ARGN})
  set(generated)
  foreach(schema ${arg_SCHEMAS})
    set(input ${CMAKE_CURRENT_SOURCE_DIR}/${schema})
    file(RELATIVE_PATH path ${PROJECT_SOURCE_DIR} ${input})
    set(output ${CMAKE_BINARY_DIR}/generated/${path})
    add_custom_command(
      OUTPUT ${output}.c++ ${output}.h
      COMMAND ${CAPNP_EXECUTABLE} compile -o${CAPNPC_CXX_EXECUTABLE}:${CMAKE_BINARY_DIR}/generated
              --src-prefix=${PROJECT_SOURCE_DIR} -I${PROJECT_SOURCE_DIR} ${input}
      DEPENDS ${arg_SCHEMAS}  # schemas import one another
      COMMENT "capnp ${path}" VERBATIM)
    list(APPEND generated ${output}.c++ ${output}.h)
  endforeach()
  if(generated)
    add_library(${name} STATIC ${generated})
    add_dependencies(generated_headers ${name}_generated)
    add_custom_target(${name}_generated DEPENDS ${generated})
    add_dependencies(${name} ${name}_generated)
    target_include_directories(${name} SYSTEM PUBLIC ${CMAKE_BINARY_DIR}/generated)  # they include one another
    target_link_libraries(${name} PUBLIC PkgConfig::capnp)
  else()
    add_library(${name} INTERFACE)
    target_link_libraries(${name} INTERFACE PkgConfig::capnp)
  endif()
endfunction()

# manta_gcc_variant_noise(a.cc ...): gcc 12 reports members of std::variant and std::optional as maybe uninitialized where
# they are not (GCC bugs 105562, 109570); these files set that one warning aside.
function(manta_gcc_variant_noise)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    set_source_files_properties(${ARGN} PROPERTIES COMPILE_OPTIONS "-Wno-maybe-uninitialized")
  endif()
endfunction()
