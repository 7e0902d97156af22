# Stands in for the Redis image: Debian's Redis.
FROM callkeeper-stand-in/base:1
CMD ["redis-server"]
