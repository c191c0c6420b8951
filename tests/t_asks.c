#include "tests/t_oracle.h"

/* Requests that any profile must answer: subjects, alternative names, times. */
const struct t_ask t_asks[] = {
    { .what = "plain", .subject = "/CN={id}", .attr = { { "CN", "{id}" } }, .seq = 1 },
    { .what = "many attributes",
      .subject = "/C=DE/ST=Bayern/L=München/O=Acme \\/ Söhne \\+ Co/OU=a\\\\b/OU={seq:08}/serialNumber={id}"
                 "/CN=dev {mac}",
      .attr = { { "C", "DE" },
                { "ST", "Bayern" },
                { "L", "München" },
                { "O", "Acme / Söhne + Co" },
                { "OU", "a\\b" },
                { "OU", "{seq:08}" },
                { "serialNumber", "{id}" },
                { "CN", "dev {mac}" } },
      .seq = 4711,
      .mac = 0x0200fffefdfcull },
    { .what = "UTF-8 of two, three and four octets",
      .subject = "/O={id}/CN=日本 {id} 😀",
      .attr = { { "O", "{id}" }, { "CN", "日本 {id} 😀" } },
      .id = "Gerät-日本-😀" },
    { .what = "DC and emailAddress",
      .subject = "/DC=com/DC=example/emailAddress={id}@example.com/UID={id}",
      .attr = { { "DC", "com" },
                { "DC", "example" },
                { "emailAddress", "{id}@example.com" },
                { "UID", "{id}" } } },
    { .what = "dotted types, known and unknown",
      .subject = "/1.3.6.1.4.1.37244.2.1={seq:016x}/2.5.4.3={id}/dnQualifier={id}/2.999.1={mac}",
      .attr = { { "1.3.6.1.4.1.37244.2.1", "{seq:016x}" },
                { "2.5.4.3", "{id}" },
                { "dnQualifier", "{id}" },
                { "2.999.1", "{mac}" } },
      .seq = 0xfedcba9876543210ull },
    { .what = "long names",
      .subject = "/organizationName=o/title=t/street=s/postalCode=p/GN=g/SN=s/initials=i/pseudonym=p"
                 "/generationQualifier=q/name=n/commonName={id}",
      .attr = { { "organizationName", "o" },
                { "title", "t" },
                { "street", "s" },
                { "postalCode", "p" },
                { "GN", "g" },
                { "SN", "s" },
                { "initials", "i" },
                { "pseudonym", "p" },
                { "generationQualifier", "q" },
                { "name", "n" },
                { "commonName", "{id}" } } },
    { .what = "every placeholder",
      .subject = "/CN={uuid}/serialNumber={seq}/OU={seq:20}/OU={seq:x}/OU={seq:3x}/OU={seq:3}{seq:9}",
      .attr = { { "CN", "{uuid}" },
                { "serialNumber", "{seq}" },
                { "OU", "{seq:20}" },
                { "OU", "{seq:x}" },
                { "OU", "{seq:3x}" },
                { "OU", "{seq:3}{seq:9}" } },
      .seq = 1234567 },
    { .what = "columns of a list",
      .subject = "/O={site name, no.}/OU={part}{part}/serialNumber={serial}/CN={id} in {site name, no.}",
      .attr = { { "O", "{site name, no.}" },
                { "OU", "{part}{part}" },
                { "serialNumber", "{serial}" },
                { "CN", "{id} in {site name, no.}" } },
      .san = "DNS:{part}.{serial}.example.com,URI:urn:{site name, no.}:{seq},email:{part}@example.com",
      .column = { "SN-1", "a1", "Werk(7)" } },
    { .what = "columns of UTF-8, 64 characters",
      .subject = "/CN={site name, no.}",
      .attr = { { "CN", "{site name, no.}" } },
      .column = { "x", "y",
                  "ääääääääääääääääääääääääääääääää日日日日日日日日日日日日日日日日日日日日日日日日日日日日日"
                  "日日日" } },
    { .what = "empty subject", .subject = "/", .san = "critical,DNS:{id}.example.com" },
    { .what = "all plain kinds of alternative names",
      .subject = "/CN={id}",
      .attr = { { "CN", "{id}" } },
      .san = "DNS:{id}.example.com,URI:urn:dev:mac:{mac},URI:urn:uuid:{uuid},email:{id}@example.com,"
             "RID:1.2.3.4,IP:192.0.2.1,IP:2001:db8::1,DNS:constant.example.com",
      .mac = 1 },
    { .what = "otherName",
      .subject = "/CN=x",
      .attr = { { "CN", "x" } },
      .san = "otherName:1.3.6.1.4.1.311.20.2.3;UTF8:{id}@realm,otherName:1.2.3;IA5:{seq}" },
    { .what = "the last second of UTCTime",
      .subject = "/CN={id}",
      .attr = { { "CN", "{id}" } },
      .not_after = "20491231235959Z" },
    { .what = "the first of GeneralizedTime",
      .subject = "/CN={id}",
      .attr = { { "CN", "{id}" } },
      .not_after = "20500101000000Z" },
    { .what = "no well-defined expiration",
      .subject = "/CN={id}",
      .attr = { { "CN", "{id}" } },
      .not_after = "99991231235959Z" },
    { .what = "both times generalized",
      .subject = "/CN={id}",
      .attr = { { "CN", "{id}" } },
      .not_before = "20500101000000Z",
      .not_after = "99991231235959Z" },
    { .what = "both in the last century",
      .subject = "/CN={id}",
      .attr = { { "CN", "{id}" } },
      .not_before = "19500101000000Z",
      .not_after = "19991231235959Z" },
};
const size_t t_asks_count = CM_COUNT(t_asks);

#define HEAD "[profile]\nextensions = e\n[e]\n"
#define COMMON "/CN={id}", .attr = { { "CN", "{id}" } }

/* Profiles with a placeholder wherever x509v3_config(5) and ASN1_generate_nconf(3) allow one. */
const struct t_ask t_profile_asks[] = {
    { .what = "policies with qualifiers",
      .profile = HEAD "basicConstraints = critical,CA:FALSE\ncertificatePolicies = 1.2.3.4,@pol,1.5.6\n"
                      "[pol]\npolicyIdentifier = 1.3.5.8\nCPS.1 = \"http://cps.example/#{id}\"\n"
                      "CPS.2 = http://x/\nuserNotice.1 = @note\n"
                      "[note]\nexplicitText = UTF8:device {id}\norganization = Acme {seq}\n"
                      "noticeNumbers = 1,2\n",
      .subject = COMMON,
      .seq = 77 },
    { .what = "columns of a list in extensions",
      .profile =
          HEAD "subjectAltName = critical,@alt\nnsComment = \"{site name, no.}: {part}\"\n"
               "1.2.3.4.5 = ASN1:SEQUENCE:s\n"
               "[alt]\nDNS.1 = {part}.example.com\notherName.1 = 1.2.3;UTF8:{site name, no.}\n"
               "[s]\na = UTF8String:{site name, no.}\nb = OCTWRAP,OCT:{serial}\nc = EXP:3,IA5STRING:{part}\n",
      .subject = "/",
      .column = { "", "a-1", "Werk 7" } },
    { .what = "OIDs without a name",
      .profile =
          HEAD "1.2.3.4.5 = ASN1:UTF8String:{id}\n1.2.3.4.6 = critical,DER:30030201ff\n"
               "1.2.3.4.7 = critical,ASN1:PRINTABLESTRING:{seq:08}\n1.2.3.4.8 = ASN1:IA5STRING:{mac}\n"
               "1.2.3.4.9 = ASN1:FORMAT:UTF8,UTF8String:{id}{id}{id}\n1.2.3.4.10 = ASN1:BOOLEAN:TRUE\n",
      .subject = COMMON,
      .mac = 0xffffffffffffull },
    { .what = "nested sections",
      .profile = HEAD "1.2.3.4.5 = ASN1:SEQUENCE:outer\n1.2.3.4.6 = ASN1:SET:inner\n"
                      "[outer]\na = INTEGER:0x1234\nb = SEQUENCE:inner\nc = EXPLICIT:1,SEQUENCE:inner\n"
                      "d = IMPLICIT:2,UTF8String:{id}\ne = EXP:3,UTF8String:{uuid}\nf = NULL:\n"
                      "[inner]\na = UTF8String:{seq:08x}\nb = OCT:{id}\nc = BITSTRING:{id}\n"
                      "d = OCTWRAP,UTF8String:{id}\ne = SEQWRAP,OCT:{mac}\nf = OCTWRAP,SEQUENCE:deep\n"
                      "[deep]\na = OCTWRAP,OCT:{id}\nb = OID:1.2.840.113549\n",
      .subject = COMMON,
      .seq = 9 },
    { .what = "hardware module name (RFC 4108)",
      .profile = HEAD "subjectAltName = critical,otherName:1.3.6.1.5.5.7.8.4;SEQUENCE:hmn\n"
                      "keyUsage = critical,digitalSignature\n"
                      "[hmn]\nhwType = OID:1.3.6.1.4.1.9999.1\nhwSerial = OCT:{id}\n",
      .subject = "/" },
    { .what = "a section for each key family",
      .profile = "[profile]\nextensions = e\nextensions_ec = ec\nextensions_rsa = rsa\n"
                 "extensions_ed25519 = ed\n[e]\nbasicConstraints = CA:TRUE\n"
                 "[ec]\nnsComment = EC {id}\nkeyUsage = digitalSignature,keyAgreement\n"
                 "[rsa]\nnsComment = RSA {id} {id}\nkeyUsage = keyEncipherment\n"
                 "[ed]\nnsComment = Ed {seq}\n",
      .subject = COMMON },
    { .what = "a section for RSA only",
      .profile = "[profile]\nextensions = e\nextensions_rsa = rsa\n[e]\nnsComment = all {id}\n[rsa]\n"
                 "nsComment = RSA {id}\n",
      .subject = COMMON },
    { .what = "distribution points and access",
      .profile = HEAD "crlDistributionPoints = cdp,URI:http://crl.example/{seq}.crl\n"
                      "authorityInfoAccess = OCSP;URI:http://ocsp.example/{id},caIssuers;URI:http://x/ca\n"
                      "freshestCRL = URI:http://delta.example/{id}\n"
                      "[cdp]\nfullname = URI:http://full.example/{id},URI:http://x\nreasons = keyCompromise\n"
                      "CRLissuer = dirName:issuer\n[issuer]\nC = DE\nO = Acme {id}\n",
      .subject = COMMON,
      .seq = 18446744073709551615ull },
    { .what = "dirName, without slots and with",
      .profile = HEAD "subjectAltName = dirName:fixed,dirName:own,DNS:{id}\n"
                      "[fixed]\nC = DE\nO = Acme\nCN = constant\n[own]\nO = Acme\nCN = {id}\nOU = {seq:04}\n",
      .subject = COMMON,
      .seq = 5 },
    { .what = "alternative names in a section, replaced by a longer one",
      .profile =
          HEAD "keyUsage = digitalSignature\nsubjectAltName = @alt\nextendedKeyUsage = 1.2.3.4,clientAuth\n"
               "[alt]\nDNS.1 = {id}.one\nDNS.2 = {id}.two\n",
      .subject = COMMON,
      .san = "URI:urn:x:#{id}:{id}:{id}:{id}:{id}:{id}:{id}" },
    { .what = "alternative names in a section",
      .profile = HEAD "keyUsage = digitalSignature\nsubjectAltName = @alt\n"
                      "[alt]\nDNS.1 = {id}.one\nURI.1 = urn:dev:{mac}\nemail.1 = {id}@a.example\n",
      .subject = COMMON },
    { .what = "the CA's issuer and serial number",
      .profile = HEAD "subjectKeyIdentifier = hash\nauthorityKeyIdentifier = keyid:always,issuer:always\n"
                      "tlsfeature = status_request\nissuerAltName = URI:http://ca.example/{id}\n",
      .subject = COMMON },
    { .what = "marks side by side and of one kind",
      .profile = HEAD "1.2.3.4 = ASN1:UTF8String:{id}{id}{seq}{mac}{seq}\n",
      .subject = COMMON,
      .seq = 12 },
};
const size_t t_profile_asks_count = CM_COUNT(t_profile_asks);
