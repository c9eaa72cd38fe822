# The objects of libllama again under the names that node-llama-cpp's GPU variants look for: target llama-cuda makes libllama.cuda.<version>.so.
# native/prebuilt.mjs passes for each: ARMT_VARIANT_<name>, the folder of that variant's prebuilt ggml libraries.

foreach (variant cuda vulkan metal)
    if (NOT ARMT_VARIANT_${variant})
        continue()
    endif()
    armt_prebuilt_library(ggml-base-${variant} ${ARMT_VARIANT_${variant}} ggml-base)
    armt_prebuilt_library(ggml-${variant} ${ARMT_VARIANT_${variant}} ggml.${variant}.${ARMT_LLAMA_VERSION})
    add_library(llama-${variant} SHARED EXCLUDE_FROM_ALL $<TARGET_OBJECTS:llama>)
    set_target_properties(llama-${variant} PROPERTIES
        LINKER_LANGUAGE CXX
        OUTPUT_NAME llama.${variant}.${ARMT_LLAMA_VERSION}
        LIBRARY_OUTPUT_DIRECTORY ${ARMT_OUTPUT_DIR}
        RUNTIME_OUTPUT_DIRECTORY $<1:${ARMT_OUTPUT_DIR}>)
    target_link_libraries(llama-${variant} PRIVATE ggml-${variant} ggml-base-${variant})
endforeach()
