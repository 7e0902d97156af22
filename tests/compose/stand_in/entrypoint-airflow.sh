#!/bin/bash
# What Apache Airflow's entrypoint does of all that docker-compose.yaml leaves to it.
set -euo pipefail
umask 0002
if ! whoami >/dev/null 2>&1; then export HOME=/home/airflow; fi
case "${1:-}" in
bash | python) exec "$@" ;;
airflow) shift ;;
esac
exec airflow "$@"
