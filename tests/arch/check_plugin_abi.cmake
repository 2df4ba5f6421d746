# cmake -DROOT=… -DFOLDER=… -P check_plugin_abi.cmake: the plugin's number changes with the header
# that names the interface, with operands, and with what those include.
cmake_minimum_required(VERSION 3.25)
include(${ROOT}/cmake/ThInterfaceNumber.cmake)
set(header th/runtime/plugin/cuda_plugin_abi.hpp)
file(REMOVE_RECURSE ${FOLDER})
file(COPY ${ROOT}/include/th DESTINATION ${FOLDER})
th_interface_number(before ${FOLDER} ${header})
th_interface_number(here ${ROOT}/include ${header})
if(NOT before EQUAL here)
  message(FATAL_ERROR "the same headers have the numbers ${here} and ${before}")
endif()
foreach(changed ${header} th/runtime/ops/operands.hpp th/runtime/ops/score_rule.hpp
    th/runtime/optimizers/adam.hpp th/runtime/device/stream.hpp
    th/runtime/transport/collectives.hpp th/base/half_float.hpp)
  file(APPEND ${FOLDER}/${changed} "// another byte\n")
  th_interface_number(after ${FOLDER} ${header})
  if(after EQUAL before)
    message(FATAL_ERROR "the plugin's number does not see a change of ${changed}")
  endif()
  set(before ${after})
endforeach()
file(REMOVE_RECURSE ${FOLDER})
