"""The embedded stack: Postgres, an S3 server, a mail catcher and Airflow on one machine, without root or containers."""
