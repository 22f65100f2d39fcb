# Compilers, flags, linkers and the layout of the build tree.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_CXX_VISIBILITY_PRESET hidden)
set(CMAKE_VISIBILITY_INLINES_HIDDEN ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
set(CMAKE_ARCHIVE_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/lib)

if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Build type" FORCE)
endif()
set(CMAKE_CXX_FLAGS_RELEASE "-O2 -DNDEBUG")
set(CMAKE_CXX_FLAGS_DEBUG "-O0 -g")
set(CMAKE_CXX_FLAGS_RELWITHDEBINFO "-O1 -gline-tables-only -fno-omit-frame-pointer")
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  set(CMAKE_CXX_FLAGS_RELWITHDEBINFO "-O1 -g1 -fno-omit-frame-pointer")
endif()

find_program(MANTA_CCACHE ccache)
if(MANTA_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  # Paths below the source tree count as relative, so that another clone finds what this one has compiled.
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_BASEDIR=${PROJECT_SOURCE_DIR} CCACHE_NOHASHDIR=1
                                  ${MANTA_CCACHE})
endif()

find_program(MANTA_MOLD mold)
find_program(MANTA_LLD ld.lld)
if(MANTA_MOLD)
  add_link_options(-fuse-ld=mold)
elseif(MANTA_LLD)
  add_link_options(-fuse-ld=lld)
endif()

# Frame pointers stay: a profile of a microsecond path is worth more than a register.
set(MANTA_COMPILE_OPTIONS -Wall -Wextra -fno-omit-frame-pointer)
if(MANTA_WERROR)
  list(APPEND MANTA_COMPILE_OPTIONS -Werror)
endif()
if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  list(APPEND MANTA_COMPILE_OPTIONS -Wthread-safety)
endif()

if(MANTA_SANITIZE STREQUAL "address")
  add_compile_options(-fsanitize=address,undefined -fno-sanitize-recover=undefined)
  # base/vptr_check.cc says why one check of UBSan's is wrapped.
  add_link_options(-fsanitize=address,undefined -Wl,--wrap=__ubsan_handle_dynamic_type_cache_miss_abort)
elseif(MANTA_SANITIZE STREQUAL "thread")
  add_compile_options(-fsanitize=thread)
  add_link_options(-fsanitize=thread)
elseif(MANTA_SANITIZE)
  message(FATAL_ERROR "MANTA_SANITIZE is '${MANTA_SANITIZE}'; it knows address and thread")
endif()
