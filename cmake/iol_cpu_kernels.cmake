# src/backend/cpu/isa/<isa>.cpp is compiled once per instruction set; the best one is chosen at run time.
# These files include no standard-library code with external linkage: an inline function compiled for
# AVX-512 could otherwise be the copy that the linker keeps for everyone.
function(iol_add_cpu_kernels target)
  set(dir ${CMAKE_SOURCE_DIR}/src/backend/cpu/isa)
  # Quantizing a model is a loop over all its weights.
  set_source_files_properties(${CMAKE_SOURCE_DIR}/src/backend/quantize_row.cpp PROPERTIES
                              COMPILE_OPTIONS "-O3" SKIP_PRECOMPILE_HEADERS ON)
  set(options -O3 -ffp-contract=off)
  if(IOL_SANITIZE)
    # A quarter of the time to compile: without what the address sanitizer finds as well.
    set(options -O2 -ffp-contract=off -fno-sanitize=null,object-size,pointer-overflow,vptr)
  endif()
  target_sources(${target} PRIVATE ${dir}/portable.cpp)
  set_source_files_properties(${dir}/portable.cpp PROPERTIES
                              COMPILE_OPTIONS "${options}" SKIP_PRECOMPILE_HEADERS ON)
  if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
    target_compile_definitions(${target} PRIVATE IOL_X86=1)
    set(avx2 ${options} -mavx2 -mfma -mf16c)
    # GCC 12 warns of its own intrinsics (bug 105593).
    set(avx512 ${avx2} -Wno-uninitialized -Wno-maybe-uninitialized -mavx512f -mavx512bw -mavx512dq -mavx512vl)
    set(avx2_vnni ${avx2} -mavxvnni)
    set(avx512_vnni ${avx512} -mavx512vnni)
    set(avx512_bf16 ${avx512_vnni} -mavx512bf16 -mavx512vbmi)
    set(amx ${avx512_bf16} -mamx-tile -mamx-int8 -mamx-bf16)
    foreach(isa avx2 avx2_vnni avx512 avx512_vnni avx512_bf16 amx)
      target_sources(${target} PRIVATE ${dir}/${isa}.cpp)
      set_source_files_properties(${dir}/${isa}.cpp PROPERTIES
                                  COMPILE_OPTIONS "${${isa}}" SKIP_PRECOMPILE_HEADERS ON)
    endforeach()
  endif()
endfunction()
