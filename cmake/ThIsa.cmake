# Sources that are compiled once for each instruction set of the processor. Each set is an object
# library whose code stands in a namespace of its own, TH_ISA, and a dispatcher takes what
# th::instruction_set() says. Nothing of a set may be shared with another, or the linker could take
# code of a processor that is not there: tests/arch/check_isa_symbols.py looks for such symbols.
set(TH_ISAS baseline)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64)$")
  list(APPEND TH_ISAS avx2 avx512)
endif()
set(TH_ISA_OPTIONS_avx2 -march=x86-64-v3)
set(TH_ISA_OPTIONS_avx512 -march=x86-64-v4)
set(TH_ISA_OPTIONS_avx512_vnni -march=x86-64-v4 -mavx512vnni -mprefer-vector-width=512)
set(TH_ISA_OPTIONS_avx512_bf16 -march=x86-64-v4 -mavx512bf16 -mprefer-vector-width=512)
set(TH_ISA_OPTIONS_amx -march=x86-64-v4 -mamx-tile -mamx-int8 -mamx-bf16
  -mprefer-vector-width=512)

# th_add_isa_objects(name NAMESPACE namespace SOURCES … [FUSED_SOURCES …] [ISAS …]): the object
# libraries name_baseline, name_avx2, … in th::namespace, or those of ISAS alone. FUSED_SOURCES are
# for sets with fused multiply-adds, and the one place where products and sums are contracted to
# them.
function(th_add_isa_objects name)
  cmake_parse_arguments(A "" "NAMESPACE" "SOURCES;FUSED_SOURCES;ISAS" ${ARGN})
  if(NOT A_ISAS)
    set(A_ISAS ${TH_ISAS})
  endif()
  # The parameter forbids GCC to leave out the fused form for processors where a chain of it is
  # slower, because its rounding is another.
  set_source_files_properties(${A_FUSED_SOURCES} PROPERTIES COMPILE_OPTIONS
    "-ffp-contract=fast;$<$<CXX_COMPILER_ID:GNU>:--param=avoid-fma-max-bits=0>")
  foreach(isa IN LISTS A_ISAS)
    set(sources ${A_SOURCES})
    if(NOT isa STREQUAL baseline)
      list(APPEND sources ${A_FUSED_SOURCES})
    endif()
    if(NOT sources)
      continue()
    endif()
    set(target ${name}_${isa})
    add_library(${target} OBJECT ${sources})
    target_compile_definitions(${target} PRIVATE TH_ISA=${isa})
    target_include_directories(${target} PRIVATE
      ${CMAKE_SOURCE_DIR}/include ${CMAKE_SOURCE_DIR}/src)
    # The CUDA stand-in, a shared library, has these objects too.
    set_target_properties(${target} PROPERTIES
      POSITION_INDEPENDENT_CODE ON CXX_VISIBILITY_PRESET hidden)
    th_apply_options(${target})
    target_compile_options(${target} PRIVATE ${TH_ISA_OPTIONS_${isa}})
    set_property(GLOBAL APPEND PROPERTY TH_ISA_SETS
      "${isa} th::${A_NAMESPACE}::${isa} $<JOIN:$<TARGET_OBJECTS:${target}>, >")
  endforeach()
endfunction()

# th_isa_objects(variable name): the objects of all sets, for a target's sources.
function(th_isa_objects variable name)
  set(objects "")
  foreach(isa IN LISTS TH_ISAS ITEMS avx512_vnni avx512_bf16 amx)
    if(TARGET ${name}_${isa})
      list(APPEND objects $<TARGET_OBJECTS:${name}_${isa}>)
    endif()
  endforeach()
  set(${variable} ${objects} PARENT_SCOPE)
endfunction()
