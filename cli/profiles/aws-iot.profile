# Device certificates for AWS IoT Core: just-in-time registration, JITP, bulk registration.
# What AWS IoT would refuse is refused here, before the first key is made.

[profile]
description     = AWS IoT Core device (mutual TLS client)
subject         = /CN={id}
# Key types and sizes, signatures, names, validity, sizes: what `certmill aws check` tells of, mint refuses.
registry        = aws-iot
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
