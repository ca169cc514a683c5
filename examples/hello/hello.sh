#!/bin/sh
cat /greeting
echo "I am $(id -un) on $(uname -s), process $$, and see $(ls / | wc -w) entries in my root directory."
