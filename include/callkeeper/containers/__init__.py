"""callkeeper in containers: what docker-compose.yaml runs. Airflow is set up as in the embedded stack, by the same functions."""
