# What th_app and libth_cuda.so agree on is a header with all that it includes: its number changes
# with each of their bytes, so a plugin of other headers is refused (src/runtime/plugin).
include(ThInterfaceNumber)
set(interface th/runtime/plugin/cuda_plugin_abi.hpp)
th_interface_number(TH_CUDA_PLUGIN_ABI ${CMAKE_SOURCE_DIR}/include ${interface})
configure_file(${CMAKE_SOURCE_DIR}/cmake/plugin_number.hpp.in
  ${CMAKE_BINARY_DIR}/generated/plugin_number.hpp @ONLY)
# A change of one of them configures anew.
th_interface_files(files ${CMAKE_SOURCE_DIR}/include ${interface})
list(TRANSFORM files PREPEND ${CMAKE_SOURCE_DIR}/include/)
set_property(DIRECTORY ${CMAKE_SOURCE_DIR} APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${files})
