# PostgreSQL from Debian, started as the official image starts it: database in PGDATA, then the init scripts, then serve.
FROM tradelake-standin/postgres-base
ENV PGDATA=/var/lib/postgresql/data/pgdata PATH=/usr/lib/postgresql/15/bin:$PATH
COPY postgres.sh /usr/local/bin/postgres.sh
CMD ["postgres.sh"]
