-- Beside Pressroom's own, which POSTGRES_DB names.
CREATE DATABASE prefect;
