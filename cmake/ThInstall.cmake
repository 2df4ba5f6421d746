# What `cmake --install` leaves: a prefix that needs neither the source nor the build folder.
#
#   bin/                     the programs
#   lib/                     the CUDA plugin, where it was built
#   lib/th_app/              LibTorch's libraries (torch/lib, nvidia/*/lib) and oneDNN
#   include/, lib/cmake/     the library that reads checkpoints (ThLibrary.cmake)
#   share/th_app/            decks (inputs/), job scripts (jobs/), run_env.sh, ReFrame's test
#                            (reframe/)
#   share/doc/th_app/        README, CHANGELOG, docs/, licenses of the copied libraries
#   share/man/man1/          a page for each program, made from its --help (help2man)
#
# LibTorch and oneDNN are copied, so that removing .deps breaks nothing. With
# TH_INSTALL_LIBTORCH=OFF they are not, and the programs load the LibTorch of TH_LIBTORCH.
option(TH_INSTALL_LIBTORCH "Install copies of LibTorch's libraries and of oneDNN" ON)
set(TH_LIBRARY_DIR ${CMAKE_INSTALL_LIBDIR}/th_app)
set(TH_DATA_DIR ${CMAKE_INSTALL_DATADIR}/th_app)

file(GLOB torch_libraries ${TH_LIBTORCH}/lib/libtorch_cpu.so ${TH_LIBTORCH}/lib/libc10.so
  ${TH_LIBTORCH}/lib/libgomp*.so*)
# A wheel with CUDA loads these two at the start; those for a GPU come with the GPU's machine.
file(GLOB nvidia_libraries ${TH_LIBTORCH}/../nvidia/*/lib/libcupti.so.[0-9]*
  ${TH_LIBTORCH}/../nvidia/*/lib/libcudart.so.[0-9]*)
set(TH_ONEDNN_LIBRARY ${CMAKE_SOURCE_DIR}/.deps/onednn/lib/libdnnl.so.3)

set(CMAKE_INSTALL_RPATH ${TH_TORCH_RPATH})
if(TH_INSTALL_LIBTORCH)
  file(RELATIVE_PATH up /${CMAKE_INSTALL_BINDIR} /${TH_LIBRARY_DIR})
  set(CMAKE_INSTALL_RPATH $ORIGIN/${up}/torch/lib)
  install(FILES ${torch_libraries} DESTINATION ${TH_LIBRARY_DIR}/torch/lib)
  foreach(library IN LISTS nvidia_libraries)
    # LibTorch's own RPATH finds them there, from torch/lib.
    file(RELATIVE_PATH place ${TH_LIBTORCH}/.. ${library})
    get_filename_component(place ${place} DIRECTORY)
    install(FILES ${library} DESTINATION ${TH_LIBRARY_DIR}/${place})
  endforeach()
  if(EXISTS ${TH_ONEDNN_LIBRARY})
    install(FILES ${TH_ONEDNN_LIBRARY} DESTINATION ${TH_LIBRARY_DIR})
  endif()
  # Their licences ask to be passed on with them.
  set(wheels ${TH_LIBTORCH}/..)
  file(GLOB torch_licenses ${wheels}/torch-*.dist-info/licenses/*)
  file(GLOB nvidia_licenses ${wheels}/nvidia_cuda_runtime-*.dist-info/licenses/*)
  file(GLOB onednn_licenses ${CMAKE_SOURCE_DIR}/.deps/onednn/*LICENSE*
    ${CMAKE_SOURCE_DIR}/.deps/onednn/THIRD-PARTY*)
  foreach(name torch nvidia onednn)
    install(FILES ${${name}_licenses} DESTINATION ${CMAKE_INSTALL_DOCDIR}/licenses/${name})
  endforeach()
endif()
# Libraries of a site (modules, Spack) stay where they are; the loader finds the system's by itself.
foreach(library IN LISTS MPI_CXX_LIBRARIES HDF5_C_LIBRARIES TH_SENTENCEPIECE_LIBRARY)
  get_filename_component(folder ${library} REALPATH)
  get_filename_component(folder ${folder} DIRECTORY)
  if(NOT folder IN_LIST CMAKE_C_IMPLICIT_LINK_DIRECTORIES)
    list(APPEND CMAKE_INSTALL_RPATH ${folder})
  endif()
endforeach()
list(REMOVE_DUPLICATES CMAKE_INSTALL_RPATH)

install(DIRECTORY inputs DESTINATION ${TH_DATA_DIR})
install(FILES tools/run_env.sh DESTINATION ${TH_DATA_DIR})
install(FILES tests/reframe/th_app.py DESTINATION ${TH_DATA_DIR}/reframe)
# Installed job scripts find the installed programs.
install(CODE "
  file(GLOB scripts ${CMAKE_SOURCE_DIR}/jobs/*)
  set(TH_INSTALLED_BIN \"\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_BINDIR}\")
  set(TH_INSTALLED_DATA \"\${CMAKE_INSTALL_PREFIX}/${TH_DATA_DIR}\")
  foreach(script IN LISTS scripts)
    get_filename_component(name \${script} NAME)
    configure_file(\${script} \"\$ENV{DESTDIR}\${TH_INSTALLED_DATA}/jobs/\${name}\" @ONLY)
  endforeach()")
install(FILES README.md CHANGELOG.md LICENSE CITATION.cff DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(DIRECTORY docs DESTINATION ${CMAKE_INSTALL_DOCDIR})

# th_install_manual(PROGRAM SUMMARY): its page of the manual, where help2man is.
find_program(TH_HELP2MAN help2man)
function(th_install_manual program summary)
  if(NOT TH_HELP2MAN)
    return()
  endif()
  set(page ${CMAKE_BINARY_DIR}/man/${program}.1)
  install(CODE "
    file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/man)
    execute_process(
      COMMAND ${TH_HELP2MAN} --no-info --no-discard-stderr --name \"${summary}\"
        --output ${page} ${CMAKE_RUNTIME_OUTPUT_DIRECTORY}/${program}
      COMMAND_ERROR_IS_FATAL ANY)")
  install(FILES ${page} DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
endfunction()
th_install_manual(th_app "train an encoder-decoder Transformer on many ranks")
th_install_manual(th_translate "translate or summarize with a trained checkpoint")
th_install_manual(th_inspect "look into checkpoints, and convert them")
th_install_manual(th_corpus "make and index corpora")
th_install_manual(th_score "score translations and summaries")
th_install_manual(th_report "make a page of one or several runs")
