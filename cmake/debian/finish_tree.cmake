# CPack runs this on the tree that becomes the Debian package, before it is packed.
set(root ${CPACK_TEMPORARY_INSTALL_DIRECTORY}/usr)
set(doc ${root}/share/doc/th-app)
set(made ${CPACK_PACKAGE_DIRECTORY})

# The plugin of GPUs needs CUDA and NCCL, which Debian does not have: a prefix has it.
file(REMOVE ${root}/lib/libth_cuda.so)
file(RENAME ${root}/share/doc/th_app ${doc})
# Debian has the text of the licence in one place for all packages.
file(REMOVE ${doc}/LICENSE)
file(CREATE_LINK ../../common-licenses/Apache-2.0 ${doc}/LICENSE SYMBOLIC)
file(COPY ${made}/copyright DESTINATION ${doc})
file(COPY_FILE ${made}/changelog ${doc}/changelog.Debian)
file(MAKE_DIRECTORY ${root}/share/lintian/overrides)
file(COPY_FILE ${made}/lintian-overrides ${root}/share/lintian/overrides/th-app)
file(GLOB pages ${root}/share/man/man1/*.1)
execute_process(COMMAND gzip -9n ${doc}/changelog.Debian ${pages} COMMAND_ERROR_IS_FATAL ANY)
