#include "tests/t_ident.h"

/* Ways to be wrong, each in one part of a certificate on P-256 signed by a P-256 CA. */

#define X8(c) c c c c c c c c
#define X64(c) X8(X8(c))
#define CN(value) "30(31(30(06(55 04 03) " value ")))"
#define ATTR(oid, value) "30(31(30(06(" oid ") " value ")))"
#define VALID(from, to) "30(" from " " to ")"
#define FROM "17('260102030405Z')"
#define TO "17('360102030405Z')"
#define EXT(oid, rest) "30(06(" oid ") " rest ")"
#define CE(n, rest) EXT("55 1d " n, rest)
#define TRUE "01(ff)"
#define EC_ALG "30(06(2a 86 48 ce 3d 02 01) 06(2a 86 48 ce 3d 03 01 07))"
#define POINT_64 X64("77")

static const struct t_damage damages[] = {
    { "v1 by absence", T_VERSION, "", "version: absent" },
    { "v2", T_VERSION, "a0(02(01))", "version: isn't 2" },
    { "v4", T_VERSION, "a0(02(03))", "version: isn't 2" },
    { "version with more", T_VERSION, "a0(02(02) 05())", "version: 2 octets too many" },

    { "serial 0", T_SERIAL, "02(00)", "serialNumber: zero" },
    { "serial negative", T_SERIAL, "02(81 02 03)", "serialNumber: negative" },
    { "serial of 21 octets", T_SERIAL, "02(01 " X8("55") X8("55") "55555555)", "serialNumber: 21 octets" },
    { "serial of 21 octets, the first 00", T_SERIAL, "02(00 " X8("95") X8("55") "55555555)",
      "serialNumber: 21 octets" },
    { "serial non-minimal", T_SERIAL, "02(00 01 02)", "serialNumber: the INTEGER isn't minimal" },
    { "serial without octets", T_SERIAL, "02()", "serialNumber: an INTEGER without octets" },
    { "serial with a long length", T_SERIAL, "02 81 02 01 02", "serialNumber: the length isn't written" },
    { "serial an OCTET STRING", T_SERIAL, "04(01 02)", "serialNumber: tag 04" },

    { "inner algorithm another", T_INNER, "30(06(2a 86 48 ce 3d 04 03 03))",
      "differs from the one that is signed" },
    { "outer algorithm another", T_OUTER, "30(06(2a 86 48 ce 3d 04 03 03))",
      "differs from the one that is signed" },
    { "outer algorithm with NULL", T_OUTER, "30(06(2a 86 48 ce 3d 04 03 02) 05())",
      "differs from the one that is signed" },
    { "issuer empty", T_ISSUER, "30()", "issuer: empty" },
    { "issuer a SET", T_ISSUER, "31()", "issuer: tag 31" },

    { "GeneralizedTime before 2050", T_VALIDITY, VALID(FROM, "18('20360102030405Z')"),
      "notAfter: GeneralizedTime for a year before 2050" },
    { "UTCTime without seconds", T_VALIDITY, VALID(FROM, "17('3601020304Z')"), "notAfter: not of the form" },
    { "UTCTime with offset", T_VALIDITY, VALID(FROM, "17('360102030405+0000')"),
      "notAfter: not of the form" },
    { "UTCTime without Z", T_VALIDITY, VALID(FROM, "17('3601020304055')"), "notAfter: not of the form" },
    { "UTCTime with a letter", T_VALIDITY, VALID(FROM, "17('36010203040xZ')"), "notAfter: not of the form" },
    { "UTCTime with a blank", T_VALIDITY, VALID(FROM, "17('36 102030405Z')"), "notAfter: not of the form" },
    { "GeneralizedTime with a fraction", T_VALIDITY, VALID(FROM, "18('20510102030405.5Z')"),
      "notAfter: not of the form" },
    { "31 February", T_VALIDITY, VALID(FROM, "17('360231030405Z')"), "isn't a calendar time" },
    { "29 February 2035", T_VALIDITY, VALID(FROM, "17('350229030405Z')"), "isn't a calendar time" },
    { "month 13", T_VALIDITY, VALID(FROM, "17('361302030405Z')"), "isn't a calendar time" },
    { "hour 24", T_VALIDITY, VALID(FROM, "17('360102240000Z')"), "isn't a calendar time" },
    { "second 60", T_VALIDITY, VALID(FROM, "17('360102235960Z')"), "isn't a calendar time" },
    { "a time as text", T_VALIDITY, VALID(FROM, "0c('360102030405Z')"),
      "neither UTCTime nor GeneralizedTime" },
    { "ends before it begins", T_VALIDITY, VALID(TO, FROM), "is after notAfter" },
    { "three times", T_VALIDITY, VALID(FROM, TO TO), "validity: 15 octets too many" },

    { "CN of 65", T_SUBJECT, CN("0c('" X64("x") "y')"), "CN: 65 characters" },
    { "CN of 65 letters in 130 octets", T_SUBJECT, CN("0c('" X64("ä") "ö')"), "CN: 65 characters" },
    { "CN empty", T_SUBJECT, CN("0c()"), "CN: 0 characters" },
    { "NUL in a CN", T_SUBJECT, CN("0c('good' 00 'evil')"), "CN: control character 00" },
    { "LF in a CN", T_SUBJECT, CN("0c('good' 0a)"), "CN: control character 0a" },
    { "DEL in a CN", T_SUBJECT, CN("0c('good' 7f)"), "CN: control character 7f" },
    { "C1 control in a CN", T_SUBJECT, CN("0c('good' c2 85)"), "CN: control character 85" },
    { "NUL in a PrintableString", T_SUBJECT, CN("13('good' 00)"), "CN: octet 00 isn't in the alphabet" },
    { "underscore in a PrintableString", T_SUBJECT, CN("13('a_b')"), "CN: octet 5f isn't in the alphabet" },
    { "UTF-8 cut short", T_SUBJECT, CN("0c('a' c3)"), "CN: not UTF-8 at octet 1" },
    { "UTF-8 overlong", T_SUBJECT, CN("0c(c1 81)"), "CN: not UTF-8 at octet 0" },
    { "UTF-8 surrogate", T_SUBJECT, CN("0c(ed a0 80)"), "CN: not UTF-8 at octet 0" },
    { "UTF-8 above 10ffff", T_SUBJECT, CN("0c(f4 90 80 80)"), "CN: not UTF-8 at octet 0" },
    { "CN a TeletexString", T_SUBJECT, CN("14('abc')"), "CN: string type 14" },
    { "CN a BMPString", T_SUBJECT, CN("1e(00 'a')"), "CN: string type 1e" },
    { "C of 3", T_SUBJECT, ATTR("55 04 06", "13('DEU')"), "C: 3 characters" },
    { "C of 1", T_SUBJECT, ATTR("55 04 06", "13('D')"), "C: 1 characters" },
    { "C as UTF8String", T_SUBJECT, ATTR("55 04 06", "0c('DE')"), "C: string type 0c" },
    { "O of 65", T_SUBJECT, ATTR("55 04 0a", "0c('" X64("x") "y')"), "O: 65 characters" },
    { "OU of 65", T_SUBJECT, ATTR("55 04 0b", "0c('" X64("x") "y')"), "OU: 65 characters" },
    { "serialNumber of 65", T_SUBJECT, ATTR("55 04 05", "13('" X64("x") "y')"),
      "serialNumber: 65 characters" },
    { "serialNumber as UTF8String", T_SUBJECT, ATTR("55 04 05", "0c('x')"), "serialNumber: string type 0c" },
    { "unknown attribute, an OCTET STRING", T_SUBJECT, ATTR("2a 03 04", "04('x')"),
      "tag 04 isn't a permitted" },
    { "unknown attribute, unused bits", T_SUBJECT, ATTR("2a 03 04", "03(01 01)"),
      "unused bits that aren't zero" },
    { "unknown attribute with NUL", T_SUBJECT, ATTR("2a 03 04", "16('x' 00)"),
      "octet 00 isn't in the alphabet" },
    { "empty RDN", T_SUBJECT, "30(31())", "an empty SET" },
    { "RDN out of order", T_SUBJECT, "30(31(30(06(55 04 0a) 0c('b')) 30(06(55 04 03) 0c('a'))))",
      "a SET OF that isn't in order" },
    { "attribute twice in an RDN", T_SUBJECT, "30(31(30(06(55 04 03) 0c('a')) 30(06(55 04 03) 0c('b'))))",
      "the same attribute twice" },
    { "attribute with more", T_SUBJECT, CN("0c('a') 0c('b')"), "attribute: 3 octets too many" },
    { "name of indefinite length", T_SUBJECT, "30 80 31(30(06(55 04 03) 0c('a'))) 00 00",
      "indefinite length" },
    { "empty subject without SAN", T_SUBJECT, "30()", "subject: empty without a critical subjectAltName" },

    { "key on an unknown curve", T_SPKI,
      "30(30(06(2a 86 48 ce 3d 02 01) 06(2b 81 04 00 0a)) 03(00 04 " POINT_64 "))",
      "an EC curve that isn't" },
    { "key with explicit parameters", T_SPKI,
      "30(30(06(2a 86 48 ce 3d 02 01) 30(02(01))) 03(00 04 " POINT_64 "))", "tag 30 where 06 belongs" },
    { "point compressed", T_SPKI, "30(" EC_ALG " 03(00 02 " X8("7777") X8("7777") "))",
      "not an uncompressed point" },
    { "point hybrid", T_SPKI, "30(" EC_ALG " 03(00 06 " POINT_64 "))", "not an uncompressed point" },
    { "point a byte short", T_SPKI, "30(" EC_ALG " 03(00 04 77777777777777 " X8("77777777777777") "))",
      "a point of 64" },
    { "point with unused bits", T_SPKI, "30(" EC_ALG " 03(04 04 " X8("77") X8("70") "))", "4 unused bits" },
    { "RSA without NULL", T_SPKI, "30(30(06(2a 86 48 86 f7 0d 01 01 01)) 03(00 30(02(03) 02(03))))",
      "public key algorithm: missing" },
    { "RSA of 16 bits", T_SPKI, "30(30(06(2a 86 48 86 f7 0d 01 01 01) 05()) 03(00 30(02(00 80 01) 02(03))))",
      "an RSA modulus of 16 bits" },
    { "Ed25519 with NULL", T_SPKI, "30(30(06(2b 65 70) 05()) 03(00 " X8("77777777") "))",
      "2 octets too many" },
    { "Ed25519 of 31", T_SPKI, "30(30(06(2b 65 70)) 03(00 77777777777777 " X8("777777") "))",
      "of 31 octets" },
    { "Ed448", T_SPKI, "30(30(06(2b 65 71)) 03(00 77))", "a key type that isn't in the table" },

    { "explicit DEFAULT FALSE in basicConstraints", T_BASIC, CE("13", TRUE " 04(30(01(00)))"),
      "basicConstraints: the DEFAULT FALSE is written out" },
    { "explicit DEFAULT FALSE of critical", T_BASIC, CE("13", "01(00) 04(30())"),
      "criticality: the DEFAULT FALSE is written out" },
    { "TRUE as 01", T_BASIC, CE("13", "01(01) 04(30())"), "criticality: TRUE written as 01" },
    { "BOOLEAN of 2", T_BASIC, CE("13", "01(ff ff) 04(30())"), "criticality: a BOOLEAN of 2 octets" },
    { "is a CA", T_BASIC, CE("13", TRUE " 04(30(01(ff)))"), "says that the device is a CA" },
    { "path length without CA", T_BASIC, CE("13", TRUE " 04(30(02(00)))"), "a path length, but no CA" },
    { "basicConstraints with more", T_BASIC, CE("13", TRUE " 04(30() 05())"),
      "basicConstraints: 2 octets too many" },
    { "keyUsage with trailing zero bits", T_USAGE, CE("0f", TRUE " 04(03(00 80))"),
      "keyUsage: zero bits at its end" },
    { "keyUsage with a zero octet", T_USAGE, CE("0f", TRUE " 04(03(07 80 00))"),
      "keyUsage: zero bits at its end" },
    { "keyUsage padding not zero", T_USAGE, CE("0f", TRUE " 04(03(07 81))"), "keyUsage: unused bits" },
    { "keyUsage unused 8", T_USAGE, CE("0f", TRUE " 04(03(08 80))"),
      "keyUsage: a BIT STRING with a wrong count" },
    { "keyUsage empty", T_USAGE, CE("0f", TRUE " 04(03(00))"), "keyUsage: no bit set" },
    { "keyUsage of 10 bits", T_USAGE, CE("0f", TRUE " 04(03(06 80 40))"), "keyUsage: more than 9 bits" },
    { "keyUsage keyCertSign", T_USAGE, CE("0f", TRUE " 04(03(02 84))"), "keyUsage: keyCertSign" },
    { "keyUsage keyEncipherment with EC", T_USAGE, CE("0f", TRUE " 04(03(05 a0))"),
      "keyUsage: encipherment" },
    { "keyUsage with more", T_USAGE, CE("0f", TRUE " 04(03(07 80) 05())"), "keyUsage: 2 octets too many" },
    { "EKU with more", T_EKU, CE("25", "04(30(06(2a 03)) 05())"), "extendedKeyUsage: 2 octets too many" },
    { "SKI with more", T_SKI, CE("0e", "04(04(01) 05())"), "subjectKeyIdentifier: 2 octets too many" },
    { "AKI with more", T_AKI, CE("23", "04(30(80(01) 83(01)))"),
      "authorityKeyIdentifier: 3 octets too many" },
    { "AKI serial negative", T_AKI, CE("23", "04(30(80(01) a1(a4(30())) 82(80)))"), "serial: negative" },
    { "AKI serial not minimal", T_AKI, CE("23", "04(30(80(01) a1(a4(30())) 82(00 01)))"), "not minimal" },
    { "EKU empty", T_EKU, CE("25", "04(30())"), "extendedKeyUsage: empty" },
    { "EKU not minimal", T_EKU, CE("25", "04(30(06(2a 80 01)))"), "isn't minimal" },
    { "SKI critical", T_SKI, CE("0e", TRUE " 04(04(01 02))"), "subjectKeyIdentifier: critical" },
    { "SKI empty", T_SKI, CE("0e", "04(04())"), "subjectKeyIdentifier: empty" },
    { "SKI without its OCTET STRING", T_SKI, CE("0e", "04(" X8("01") ")"), "subjectKeyIdentifier: tag 01" },
    { "AKI critical", T_AKI, CE("23", TRUE " 04(30(80(01)))"), "authorityKeyIdentifier: critical" },
    { "AKI without key identifier", T_AKI, CE("23", "04(30())"), "authorityKeyIdentifier: without" },
    { "AKI issuer without serial", T_AKI, CE("23", "04(30(80(01) a1(a4(30()))))"), "serial: missing" },
    { "doubled extension", T_EXTRA, CE("13", TRUE " 04(30())"), "number 6 is the same as number 1" },
    { "nameConstraints", T_EXTRA, CE("1e", TRUE " 04(30())"), "only a CA" },
    { "SAN empty", T_EXTRA, CE("11", "04(30())"), "subjectAltName: empty" },
    { "SAN with NUL", T_EXTRA, CE("11", "04(30(82('a' 00 'b')))"), "subjectAltName: octet 00" },
    { "SAN IP of 5", T_EXTRA, CE("11", "04(30(87(01 02 03 04 05)))"), "subjectAltName: an IP address of 5" },
    { "SAN of an unknown kind", T_EXTRA, CE("11", "04(30(89(01)))"), "is no GeneralName" },
    { "policies not DER", T_EXTRA, CE("20", "04(30(30(06(2a 80))))"), "a standard extension" },
    { "policies with a bad BOOLEAN", T_EXTRA, CE("20", "04(30(01(02)))"), "TRUE written as 02" },
    { "extension with more", T_EXTRA, CE("20", "04(30()) 04(30())"), "extension: 4 octets too many" },
    { "extension without value", T_EXTRA, CE("20", TRUE), "extension: missing" },

    { "octets after the extensions", T_TBS_TAIL, "05()", "tbsCertificate: 2 octets too many" },
    { "octets after the signature", T_CERT_TAIL, "05()", "certificate: 2 octets too many" },
    { "octets after the certificate", T_TAIL, "00", "certificate: 1 octets too many" },
};

size_t t_damage_count(void)
{
    return CM_COUNT(damages);
}

const struct t_damage *t_damage_at(size_t i)
{
    return &damages[i];
}
