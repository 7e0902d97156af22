# Stands in for the SeaweedFS image: the server of the project's lock.
FROM callkeeper-stand-in/base:1
CMD ["weed"]
