#!/usr/bin/env bash
# Makes an environment of its own for the tests of agents made with other libraries (LangGraph, LangChain, OpenAI's
# Agents SDK): the packages of requirements/frameworks.txt, hashes checked, and behind them those of the product's
# environment. Both are locked to the same versions of what they share. scripts/make_frameworks.sh .venv .frameworks
set -euo pipefail
cd "$(dirname "$0")/.."
product=$1 venv=$2

"$product/bin/python" -m venv --clear --without-pip "$venv"
"$product/bin/uv" pip sync --quiet --python "$venv/bin/python" --require-hashes requirements/frameworks.txt
packages() { "$1/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))'; }
packages "$product" >"$(packages "$venv")/product.pth"
# What tests look for: no other environment has a program of this name.
ln -sf python "$venv/bin/frameworks-python"
