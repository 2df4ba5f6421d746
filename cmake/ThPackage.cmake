# `cmake --build build --target deb`: build/deb/th-app_VERSION-1_ARCHITECTURE.deb, a package of what
# `cmake --install` leaves, below /usr. CPack finds the Debian packages whose libraries the programs
# load; LibTorch and oneDNN lie in the package, in /usr/lib/th_app. The target is not CPack's own
# `package`, because that name is taken by the archive for machines with a GPU.
set(TH_DEB_MAINTAINER "The th_app authors <th-app@users.noreply.invalid>" CACHE STRING
  "Who answers for the Debian package: NAME <ADDRESS>")
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME th-app)
set(CPACK_PACKAGE_VENDOR "The th_app authors")
set(CPACK_PACKAGE_CONTACT ${TH_DEB_MAINTAINER})
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "trainer and translator of Transformers on many MPI ranks")
set(CPACK_PACKAGE_DESCRIPTION
"th_app trains an encoder-decoder Transformer from one input deck, with ZeRO
stages 0 to 3, and gives the same bits at every number of MPI ranks. The other
programs translate, score, inspect checkpoints, make corpora and draw reports.

The package holds copies of the LibTorch and oneDNN that the programs were
tested with, and the library th::checkpoint (find_package(th)), with which
programs of others read checkpoints.")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_PACKAGE_DIRECTORY ${CMAKE_BINARY_DIR}/deb)
set(CPACK_OUTPUT_CONFIG_FILE ${CMAKE_BINARY_DIR}/deb/CPackConfig.cmake)
set(CPACK_SOURCE_OUTPUT_CONFIG_FILE ${CMAKE_BINARY_DIR}/deb/CPackSourceConfig.cmake)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_RELEASE 1)
set(CPACK_DEBIAN_PACKAGE_SECTION science)
set(CPACK_DEBIAN_COMPRESSION_TYPE gzip)  # xz takes minutes, and lintian refuses zstd
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
# Each has a library or an environment of its own, and mpirun is one of them.
set(CPACK_DEBIAN_PACKAGE_DEPENDS "openmpi-bin")
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS "gnuplot-nox")
set(CPACK_DEBIAN_PACKAGE_SUGGESTS
  "cmake, g++, libhdf5-dev, libspdlog-dev, nlohmann-json3-dev, slurm-client")
foreach(library IN LISTS torch_libraries nvidia_libraries)
  get_filename_component(folder ${library} DIRECTORY)
  list(APPEND CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS ${folder})
endforeach()
list(REMOVE_DUPLICATES CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS)

# What Debian wants beside it: cmake/debian/finish_tree.cmake puts it there.
execute_process(COMMAND git log -1 --format=%aD WORKING_DIRECTORY ${CMAKE_SOURCE_DIR}
  OUTPUT_VARIABLE TH_DEB_DATE OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
if(NOT TH_DEB_DATE)
  string(TIMESTAMP TH_DEB_DATE "%a, %d %b %Y %H:%M:%S +0000" UTC)
endif()
string(REGEX MATCH "20[0-9][0-9]" TH_DEB_YEAR ${TH_DEB_DATE})
foreach(file copyright changelog lintian-overrides)
  configure_file(cmake/debian/${file}.in ${CMAKE_BINARY_DIR}/deb/${file} @ONLY)
endforeach()
set(CPACK_PRE_BUILD_SCRIPTS ${CMAKE_SOURCE_DIR}/cmake/debian/finish_tree.cmake)
include(CPack)

find_program(TH_CPACK cpack)
add_custom_target(deb
  COMMAND ${TH_CPACK} --config ${CPACK_OUTPUT_CONFIG_FILE}
  WORKING_DIRECTORY ${CMAKE_BINARY_DIR}/deb
  COMMENT "Packing build/deb/th-app_*.deb"
  USES_TERMINAL VERBATIM)
add_dependencies(deb programs plugin th_checkpoint)
