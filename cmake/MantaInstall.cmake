# manta::manta, in the build tree as in an installed one: all our libraries and what they link privately, merged into
# one libmanta.a (cmake/merge_library.py says why). Sanitizer builds link the libraries as they are.

# The archives that `target` links, ours and foreign ones, and the libraries that stay shared.
function(manta_collect_links target ours foreign shared)
  get_property(seen GLOBAL PROPERTY MANTA_COLLECTED)
  if(target IN_LIST seen)
    return()
  endif()
  set_property(GLOBAL APPEND PROPERTY MANTA_COLLECTED ${target})
  get_target_property(imported ${target} IMPORTED)
  get_target_property(type ${target} TYPE)
  if(imported OR type STREQUAL "INTERFACE_LIBRARY")
    get_target_property(links ${target} INTERFACE_LINK_LIBRARIES)
    if(NOT type STREQUAL "INTERFACE_LIBRARY" AND target MATCHES "^absl::")
      get_target_property(location ${target} IMPORTED_LOCATION_NONE)
      set_property(GLOBAL APPEND PROPERTY ${foreign} ${location})
    endif()
  else()
    get_target_property(links ${target} LINK_LIBRARIES)
    set_property(GLOBAL APPEND PROPERTY ${ours} ${target})
  endif()
  if(NOT links)
    return()
  endif()
  foreach(link ${links})
    string(REGEX REPLACE "^\\$<LINK_ONLY:(.*)>$" "\\1" link "${link}")
    if(link MATCHES "^(OpenSSL|ZLIB|Threads)::")
      set_property(GLOBAL APPEND PROPERTY ${shared} ${link})
    elseif(TARGET "${link}")
      manta_collect_links(${link} ${ours} ${foreign} ${shared})
    elseif(link MATCHES "\\.a$")
      set_property(GLOBAL APPEND PROPERTY ${foreign} ${link})
    endif()
  endforeach()
endfunction()

if(MANTA_SANITIZE)
  add_library(manta::manta ALIAS manta_ml)
  return()
endif()

manta_collect_links(manta_ml MANTA_OURS MANTA_FOREIGN MANTA_SHARED)
get_property(ours GLOBAL PROPERTY MANTA_OURS)
get_property(foreign GLOBAL PROPERTY MANTA_FOREIGN)
get_property(shared GLOBAL PROPERTY MANTA_SHARED)
list(REMOVE_DUPLICATES foreign)
list(REMOVE_DUPLICATES shared)

set(merged ${CMAKE_BINARY_DIR}/lib/libmanta.a)
set(our_files)
foreach(target ${ours})
  list(APPEND our_files $<TARGET_FILE:${target}>)
endforeach()
add_custom_command(
  OUTPUT ${merged}
  COMMAND ${Python3_EXECUTABLE} ${PROJECT_SOURCE_DIR}/cmake/merge_library.py --output ${merged}
          --work ${CMAKE_BINARY_DIR}/merged --ours ${our_files} --foreign ${foreign}
  DEPENDS ${ours} ${PROJECT_SOURCE_DIR}/cmake/merge_library.py
  COMMENT "Merging lib/libmanta.a" VERBATIM)
add_custom_target(manta_merge ALL DEPENDS ${merged})

add_library(manta_merged STATIC IMPORTED GLOBAL)
add_dependencies(manta_merged manta_merge)
set_target_properties(manta_merged PROPERTIES IMPORTED_LOCATION ${merged})
target_include_directories(manta_merged INTERFACE ${PROJECT_SOURCE_DIR}/api)
target_link_libraries(manta_merged INTERFACE ${shared} ${CMAKE_DL_LIBS} rt cereal::cereal Eigen3::Eigen)
target_compile_features(manta_merged INTERFACE cxx_std_20)
add_library(manta::manta ALIAS manta_merged)

# Installed: include/manta/, lib/libmanta.a, lib/cmake/manta/mantaConfig.cmake, bin/manta.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)
set(config_folder ${CMAKE_INSTALL_LIBDIR}/cmake/manta)
install(FILES ${merged} DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY ${PROJECT_SOURCE_DIR}/api/manta DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")
configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/mantaConfig.cmake.in ${CMAKE_BINARY_DIR}/mantaConfig.cmake
                              INSTALL_DESTINATION ${config_folder} PATH_VARS CMAKE_INSTALL_INCLUDEDIR CMAKE_INSTALL_LIBDIR)
write_basic_package_version_file(${CMAKE_BINARY_DIR}/mantaConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/mantaConfig.cmake ${CMAKE_BINARY_DIR}/mantaConfigVersion.cmake
        DESTINATION ${config_folder})
