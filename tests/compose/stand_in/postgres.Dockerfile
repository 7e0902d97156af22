# Stands in for the Postgres image: Postgres 18 of the project's lock.
FROM callkeeper-stand-in/base:1
COPY entrypoint-postgres.sh /usr/local/bin/docker-entrypoint.sh
RUN chmod 0755 /usr/local/bin/docker-entrypoint.sh \
    && mkdir -p /var/run/postgresql /var/lib/postgresql && chmod 1777 /var/run/postgresql /var/lib/postgresql
ENV PATH=/usr/lib/postgresql/18/bin:/usr/local/bin:/usr/bin:/bin PGDATA=/var/lib/postgresql/18/docker
ENTRYPOINT ["docker-entrypoint.sh"]
STOPSIGNAL SIGINT
CMD ["postgres"]
