# A TLS client certificate without the rules of any one registry.

[profile]
description     = TLS client, any key algorithm
subject         = /CN={id}
extensions      = client

[client]
basicConstraints        = critical,CA:FALSE
keyUsage                = critical,digitalSignature
extendedKeyUsage        = clientAuth
subjectKeyIdentifier    = hash
authorityKeyIdentifier  = keyid
