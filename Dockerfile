# callkeeper's image: Apache Airflow's own, with the project's lock, its DAGs, plugins, code and configuration.
# AIRFLOW_IMAGE comes from docker-compose.yaml (another mirror's name goes into .env).
ARG AIRFLOW_IMAGE
FROM ${AIRFLOW_IMAGE}

COPY --chown=airflow:0 image.in requirements.txt /opt/airflow/
RUN pip install --no-cache-dir --disable-pip-version-check --requirement /opt/airflow/image.in --constraint /opt/airflow/requirements.txt

# Root's, and readable for the containers' user, whoever that is: what runs cannot change its own code.
USER root
COPY dags /opt/airflow/dags
COPY plugins /opt/airflow/plugins
COPY include /opt/airflow/include
COPY config /opt/airflow/config
COPY docker/callkeeper /usr/local/bin/callkeeper
RUN chmod 0755 /usr/local/bin/callkeeper \
    && chmod -R a+rX,go-w /opt/airflow/dags /opt/airflow/plugins /opt/airflow/include /opt/airflow/config \
    && python -m compileall -q /opt/airflow/dags /opt/airflow/plugins /opt/airflow/include
USER airflow
ENV PYTHONPATH=/opt/airflow/include \
    GX_ANALYTICS_ENABLED=false
RUN callkeeper --version
