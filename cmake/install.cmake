# What is installed, and the targets `programs` and `gpu_carry`.

# Everything that a person starts.
get_property(programs GLOBAL PROPERTY LOCKSTEP_PROGRAMS)
add_custom_target(programs DEPENDS ${programs})

# The rooms that have CUDA twins, as one test program and one benchmark program linked to nothing shared but the
# C library (and Google Benchmark, which is put beside them): a folder to be carried to a machine with a GPU.
if(LOCKSTEP_CUDA AND LOCKSTEP_TESTS)
  get_property(gpu_link GLOBAL PROPERTY LOCKSTEP_GPU_LINK)
  get_property(gpu_tests GLOBAL PROPERTY LOCKSTEP_GPU_TESTS)
  add_executable(lockstep_gpu_test EXCLUDE_FROM_ALL ${gpu_tests})
  target_compile_definitions(lockstep_gpu_test PRIVATE LOCKSTEP_DATA_DIR="data" LOCKSTEP_SOURCE_DIR=".")
  target_link_libraries(lockstep_gpu_test PRIVATE ${gpu_link} lockstep_private_flags GTest::gtest GTest::gtest_main)
  set(carried lockstep_gpu_test)
  get_property(gpu_benches GLOBAL PROPERTY LOCKSTEP_GPU_BENCHES)
  if(LOCKSTEP_BENCH AND gpu_benches)
    add_executable(lockstep_gpu_bench EXCLUDE_FROM_ALL ${gpu_benches})
    target_link_libraries(lockstep_gpu_bench PRIVATE ${gpu_link} lockstep_private_flags
                          benchmark::benchmark benchmark::benchmark_main)
    add_custom_command(TARGET lockstep_gpu_bench POST_BUILD  # Debian has it as a shared library alone
      COMMAND ${CMAKE_COMMAND} -E copy $<TARGET_SONAME_FILE:benchmark::benchmark> ${PROJECT_BINARY_DIR}/carry)
    list(APPEND carried lockstep_gpu_bench)
  endif()
  target_link_options(lockstep_gpu_test PRIVATE -static-libstdc++ -static-libgcc)
  foreach(program IN LISTS carried)
    set_target_properties(${program} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/carry
                          BUILD_RPATH_USE_ORIGIN ON BUILD_RPATH $ORIGIN SKIP_BUILD_RPATH OFF)
  endforeach()
  add_custom_target(gpu_carry DEPENDS ${carried})
endif()

if(LOCKSTEP_INSTALL)
  include(CMakePackageConfigHelpers)
  set(package_folder ${CMAKE_INSTALL_LIBDIR}/cmake/lockstep)
  install(TARGETS lockstep_numerics EXPORT lockstep_core)
  foreach(component IN LISTS lockstep_components)
    get_property(rooms GLOBAL PROPERTY LOCKSTEP_ROOMS_${component})
    install(TARGETS lockstep_${component}_all ${rooms} EXPORT lockstep_${component}
            ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
            FILE_SET HEADERS DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
    install(EXPORT lockstep_${component} NAMESPACE lockstep:: FILE lockstep_${component}_targets.cmake
            DESTINATION ${package_folder})
  endforeach()
  if(programs)
    install(TARGETS ${programs} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
  endif()
  configure_package_config_file(cmake/lockstepConfig.cmake.in ${PROJECT_BINARY_DIR}/lockstepConfig.cmake
                                INSTALL_DESTINATION ${package_folder} NO_SET_AND_CHECK_MACRO)
  # Before 1.0 a minor version may change anything.
  write_basic_package_version_file(${PROJECT_BINARY_DIR}/lockstepConfigVersion.cmake COMPATIBILITY SameMinorVersion)
  install(FILES ${PROJECT_BINARY_DIR}/lockstepConfig.cmake ${PROJECT_BINARY_DIR}/lockstepConfigVersion.cmake
                cmake/find_libtorch.cmake DESTINATION ${package_folder})
  install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
endif()
