# Device certificates for AWS IoT Core: just-in-time registration, JITP, bulk registration.
# What AWS IoT would refuse is refused here, before the first key is made.

[profile]
description     = AWS IoT Core device (mutual TLS client)
subject         = /CN={id}
# Key types that AWS IoT registers: RSA of 2048 bits or more, the NIST curves.
keys            = P-256 P-384 P-521 RSA-2048 RSA-3072 RSA-4096
signatures      = ecdsa-with-SHA256 ecdsa-with-SHA384 ecdsa-with-SHA512 sha256WithRSAEncryption sha384WithRSAEncryption sha512WithRSAEncryption RSASSA-PSS-SHA256 RSASSA-PSS-SHA384 RSASSA-PSS-SHA512
# The id becomes the thing's name.
id_characters   = a-zA-Z0-9:_-
extensions      = device
extensions_rsa  = device_rsa

[device]
basicConstraints        = critical,CA:FALSE
keyUsage                = critical,digitalSignature
extendedKeyUsage        = clientAuth
subjectKeyIdentifier    = hash
authorityKeyIdentifier  = keyid

# TLS 1.2 suites with RSA key exchange also encipher with the device's key.
[device_rsa]
basicConstraints        = critical,CA:FALSE
keyUsage                = critical,digitalSignature,keyEncipherment
extendedKeyUsage        = clientAuth
subjectKeyIdentifier    = hash
authorityKeyIdentifier  = keyid
