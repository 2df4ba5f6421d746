# find_package(th): the library that reads checkpoints, for programs of others.
#
#   include/th/              the reader's headers, and those that they include
#   lib/th_app/*.a           th_checkpoint and the two libraries below it
#   lib/cmake/th/            thConfig.cmake, its version, the targets th::checkpoint, th::layout
#                            and th::base
#   share/th_app/examples/   a program that uses it
#
# HDF5 is named by the paths that this build found: it has to be the same one.
include(CMakePackageConfigHelpers)
set(TH_CMAKE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/th)
set(reader_libraries th_base th_layout th_checkpoint)
target_compile_features(th_base PUBLIC cxx_std_20)
foreach(library IN LISTS reader_libraries)
  string(REPLACE "th_" "" exported ${library})
  set_target_properties(${library} PROPERTIES EXPORT_NAME ${exported})
endforeach()
install(TARGETS ${reader_libraries} th_hdf5 EXPORT thTargets
  ARCHIVE DESTINATION ${TH_LIBRARY_DIR}
  INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(EXPORT thTargets NAMESPACE th:: DESTINATION ${TH_CMAKE_DIR})

# What the reader's headers include, down to the last.
foreach(header base/element_type base/error base/host_device config/run_config
    data/tokenizer/special_ids data/tokenizer/tokenizer io/checkpoint/checkpoint_folder
    io/checkpoint/checkpoint_info io/checkpoint/checkpoint_reader io/checkpoint/shard_reader
    io/checkpoint/slice model/parameters/parameter_spec runtime/optimizers/adafactor
    runtime/optimizers/adam runtime/optimizers/muon runtime/optimizers/optimizer_rule
    runtime/optimizers/optimizer_rules runtime/optimizers/sgd score/options zero/flat_layout)
  get_filename_component(folder ${header} DIRECTORY)
  install(FILES include/th/${header}.hpp
    DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/th/${folder})
endforeach()

configure_package_config_file(cmake/thConfig.cmake.in ${CMAKE_BINARY_DIR}/generated/thConfig.cmake
  INSTALL_DESTINATION ${TH_CMAKE_DIR})
# The classes may change with each minor version: what versions promise is the files and the deck.
write_basic_package_version_file(${CMAKE_BINARY_DIR}/generated/thConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/generated/thConfig.cmake
  ${CMAKE_BINARY_DIR}/generated/thConfigVersion.cmake DESTINATION ${TH_CMAKE_DIR})
install(DIRECTORY examples DESTINATION ${TH_DATA_DIR})
