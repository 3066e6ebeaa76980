#!/bin/sh
# Write the secrets of the shared volume: once the encryption keys, each time the password file.
# DATA, SECRET and OWNER are there for trying it without a container.
set -eu
umask 077
data=${DATA:-/data}
secret=${SECRET:-/run/secrets/postgres_password}
owner=${OWNER:-pressroom:pressroom}

# In a password file a colon and a backslash are written with a backslash.
password=$(sed -e 's/[\\:]/\\&/g' "$secret")
printf 'postgres:5432:*:pressroom:%s\n' "$password" >"$data/pgpass.new"
chown "$owner" "$data/pgpass.new"
mv "$data/pgpass.new" "$data/pgpass"

if [ ! -s "$data/encryption.keys" ]; then
    python -c 'from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())' >"$data/keys.new"
    chown "$owner" "$data/keys.new"
    mv "$data/keys.new" "$data/encryption.keys"
fi
