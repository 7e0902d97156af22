# Stands in for Apache Airflow's image: the same user, folders and words; not the same build.
FROM callkeeper-stand-in/base:1
COPY entrypoint-airflow.sh /entrypoint
RUN chmod 0755 /entrypoint
ENV PATH=/home/airflow/.local/bin:/usr/local/bin:/usr/bin:/bin AIRFLOW_HOME=/opt/airflow VIRTUAL_ENV=/home/airflow/.local
WORKDIR /opt/airflow
USER 50000
ENTRYPOINT ["/usr/bin/dumb-init", "--", "/entrypoint"]
CMD []
