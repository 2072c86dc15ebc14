# The CUDA backend: src/backend/cuda. nvcc is called by rules of our own, so that a build needs the compiler, the
# runtime's headers and libcudart_static.a alone, and whoever links the library needs no CUDA at all.
set(IOL_CUDA AUTO CACHE STRING "The CUDA backend: ON, OFF, or AUTO (where nvcc is found)")
set_property(CACHE IOL_CUDA PROPERTY STRINGS AUTO ON OFF)
# 8.6 and 8.9 run the binary code of 8.0.
set(IOL_CUDA_ARCHITECTURES "80;90a" CACHE STRING "Compute capabilities to make binary code for")

set(IOL_HAS_CUDA OFF)
if(NOT IOL_CUDA STREQUAL "OFF" AND NOT IOL_SANITIZE)
  find_program(IOL_NVCC nvcc HINTS $ENV{CUDA_HOME} $ENV{CUDA_PATH} /usr/local/cuda PATH_SUFFIXES bin)
  if(IOL_NVCC)
    get_filename_component(cuda_root "${IOL_NVCC}" REALPATH)
    get_filename_component(cuda_root "${cuda_root}" DIRECTORY)
    get_filename_component(cuda_root "${cuda_root}" DIRECTORY)
    find_path(IOL_CUDA_INCLUDE cuda_runtime_api.h HINTS ${cuda_root} PATH_SUFFIXES include targets/x86_64-linux/include)
    find_library(IOL_CUDART cudart_static HINTS ${cuda_root} PATH_SUFFIXES lib64 lib targets/x86_64-linux/lib)
  endif()
  if(IOL_NVCC AND IOL_CUDA_INCLUDE AND IOL_CUDART)
    set(IOL_HAS_CUDA ON)
  elseif(IOL_CUDA STREQUAL "ON")
    message(FATAL_ERROR "IOL_CUDA=ON: nvcc, its headers or libcudart_static.a not found; set CUDA_HOME")
  endif()
elseif(IOL_CUDA STREQUAL "ON")
  message(FATAL_ERROR "IOL_CUDA=ON: sanitizers don't work with the CUDA backend; use IOL_CUDA=OFF")
endif()
message(STATUS "CUDA backend: ${IOL_HAS_CUDA}")

# Adds one kernel file to the target: an object for all architectures.
function(iol_add_cuda_source target source)
  get_filename_component(name ${source} NAME_WE)
  set(object ${CMAKE_BINARY_DIR}/cuda/${name}.o)
  set(flags -std=c++20 -O3 --expt-relaxed-constexpr -I${CMAKE_SOURCE_DIR}/src
            -Xcompiler=-fPIC,-Wall,-Wextra,-Wno-psabi)
  if(IOL_WERROR)
    list(APPEND flags -Werror=all-warnings)
  endif()
  foreach(architecture ${IOL_CUDA_ARCHITECTURES})
    list(APPEND flags -gencode=arch=compute_${architecture},code=sm_${architecture})
  endforeach()
  set(launcher "")
  if(IOL_CCACHE)
    set(launcher ${IOL_CCACHE})
  endif()
  add_custom_command(
    OUTPUT ${object}
    COMMAND ${CMAKE_COMMAND} -E make_directory ${CMAKE_BINARY_DIR}/cuda
    COMMAND ${launcher} ${IOL_NVCC} ${flags} -ccbin ${CMAKE_CXX_COMPILER}
            -MD -MF ${object}.d -c ${source} -o ${object}
    DEPENDS ${source} DEPFILE ${object}.d
    COMMENT "Building CUDA object cuda/${name}.o" VERBATIM)
  target_sources(${target} PRIVATE ${object})
  set_source_files_properties(${object} PROPERTIES EXTERNAL_OBJECT ON GENERATED ON)
endfunction()

function(iol_add_cuda target)
  set(dir ${CMAKE_SOURCE_DIR}/src/backend/cuda)
  if(NOT IOL_HAS_CUDA)
    target_sources(${target} PRIVATE ${dir}/cuda_absent.cpp)
    return()
  endif()
  file(GLOB sources CONFIGURE_DEPENDS ${dir}/*.cpp ${dir}/kernels/*.cpp)
  list(REMOVE_ITEM sources ${dir}/cuda_absent.cpp)
  target_sources(${target} PRIVATE ${sources})
  set_source_files_properties(${sources} PROPERTIES INCLUDE_DIRECTORIES ${IOL_CUDA_INCLUDE})
  file(GLOB kernels CONFIGURE_DEPENDS ${dir}/kernels/*.cu)
  foreach(kernel ${kernels})
    iol_add_cuda_source(${target} ${kernel})
  endforeach()
  # The installed library brings its own copy of the runtime.
  target_link_libraries(${target} PRIVATE
    $<BUILD_INTERFACE:${IOL_CUDART}> $<INSTALL_INTERFACE:$<INSTALL_PREFIX>/${CMAKE_INSTALL_LIBDIR}/libcudart_static.a>
    ${CMAKE_DL_LIBS} rt)
  install(FILES ${IOL_CUDART} DESTINATION ${CMAKE_INSTALL_LIBDIR})
endfunction()
