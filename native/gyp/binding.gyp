{
    "targets": [
        {
            "target_name": "armt",
            "sources": [
                "../addon/addon.cpp",
                "../addon/ArmtArguments.cpp",
                "../addon/ArmtContexts.cpp",
                "../addon/ArmtDecode.cpp",
                "../addon/ArmtDevices.cpp",
                "../addon/ArmtLibrary.cpp",
                "../addon/ArmtMemory.cpp",
                "../addon/ArmtProducts.cpp",
                "../addon/ArmtQuantize.cpp",
                "../addon/ArmtState.cpp",
                "../addon/ArmtTrace.cpp",
                "../addon/ArmtWorker.cpp",
                "../addon/SharedLibrary.cpp",
                "../addon/WeightBuffers.cpp"
            ],
            "dependencies": ["<!(node -p \"require('node-addon-api').targets\"):node_addon_api_except"],
            "include_dirs": [
                "../engine",
                "../build/llama.cpp/include",
                "../build/llama.cpp/ggml/include"
            ],
            # a worker thread may end before its promises are settled
            "defines": ["NAPI_VERSION=9", "NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS"],
            "cflags_cc": ["-std=c++17", "-fvisibility=hidden", "-Wall", "-Wextra", "-Werror"],
            "conditions": [
                ["OS == 'linux'", {"libraries": ["-ldl"]}],
                ["OS == 'mac'", {
                    "xcode_settings": {"CLANG_CXX_LANGUAGE_STANDARD": "c++17", "GCC_SYMBOLS_PRIVATE_EXTERN": "YES"}
                }],
                ["OS == 'win'", {
                    "msvs_settings": {"VCCLCompilerTool": {"AdditionalOptions": ["/std:c++17"]}}
                }]
            ]
        }
    ]
}
