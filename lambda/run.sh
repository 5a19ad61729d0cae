#!/bin/sh
# AWS_LAMBDA_EXEC_WRAPPER: Lambda runs this with its own bootstrap's command line, whose first word is the interpreter.
exec "$1" "${LAMBDA_TASK_ROOT:-/var/task}/streaming.py"
