#!/bin/sh
# A device whose latency is known and the same at every time: a model file takes 0.05 ms and 1 ms for every MiB.
# The first argument names the device; docs/devices.md has the contract of the others.
name=$1
model=
while [ $# -gt 0 ]; do
    case $1 in
    --describe)
        machine="{\"cpu\": \"$name\", \"cores\": 1, \"os\": \"none\"}"
        runtime="{\"name\": \"scale\", \"version\": \"1\", \"compute_unit\": \"scale\", \"precision\": \"fp32\", \"options\": {}}"
        echo "{\"machine\": $machine, \"runtime\": $runtime, \"format\": \"onnx\", \"clock\": \"wall\"}"
        exit
        ;;
    --model)
        model=$2
        shift
        ;;
    esac
    shift
done
nanoseconds=$((50000 + $(wc -c <"$model") * 1000000 / 1048576))
printf '{"latency_ms": %d.%06d}\n' $((nanoseconds / 1000000)) $((nanoseconds % 1000000))
