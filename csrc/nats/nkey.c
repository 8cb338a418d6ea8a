/* nkey.c -- nkey seeds: base32 of prefix, ed25519 seed and CRC-16, as NATS writes keys.
 *
 *   seed    "SU..."  58 digits: 5 bits 'S', 8 bits kind, 3 bits of nothing, 32 bytes, 2 bytes CRC
 *   public  "U..."   56 digits: 1 byte kind, 32 bytes, 2 bytes CRC */
#include "nats/nkey.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum {
    FILE_MAX = 16384, /* a JWT with many permissions has some kilobytes */
    SEED_DIGITS = 58,
    SEED_BYTES = 36,
    KEY_BYTES = 32,
    KIND_SEED = 18 << 3,
    KIND_USER = 20 << 3
};

static const char DIGITS[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

static uint16_t crc16(const unsigned char *bytes, size_t n) {
    uint16_t crc = 0;
    for (size_t i = 0; i < n; i++) {
        crc ^= (uint16_t)(bytes[i] << 8);
        for (int bit = 0; bit < 8; bit++)
            crc = (uint16_t)(crc & 0x8000 ? crc << 1 ^ 0x1021 : crc << 1);
    }
    return crc;
}

/* False when a character is no digit. n digits make n * 5 / 8 bytes. */
static bool from_base32(const char *text, size_t n, unsigned char *out) {
    uint32_t bits = 0;
    int have = 0;
    for (size_t i = 0; i < n; i++) {
        const char *digit = text[i] != '\0' ? strchr(DIGITS, text[i]) : NULL;
        if (digit == NULL) return false;
        bits = bits << 5 | (uint32_t)(digit - DIGITS);
        have += 5;
        if (have >= 8) {
            have -= 8;
            *out++ = (unsigned char)(bits >> have);
        }
    }
    return true;
}

/* n is a multiple of five here, so that no digit is left half filled. */
static void to_base32(const unsigned char *bytes, size_t n, char *out) {
    uint32_t bits = 0;
    int have = 0;
    for (size_t i = 0; i < n; i++) {
        bits = bits << 8 | bytes[i];
        for (have += 8; have >= 5; have -= 5)
            *out++ = DIGITS[bits >> (have - 5) & 31];
    }
    *out = '\0';
}

/* What is wrong with the seed, or NULL; then key is its 32 bytes. */
static const char *read_seed(const char *text, size_t n, unsigned char key[KEY_BYTES]) {
    unsigned char raw[SEED_BYTES];
    const char *wrong = NULL;
    if (n == SEED_DIGITS && (text[n] == '\r' || text[n] == ' ' || text[n] == '\t'))
        wrong = "white space follows it (the line ends of another system?)"; /* libnats minds */
    else if (n != SEED_DIGITS || !from_base32(text, n, raw))
        wrong = "it is not 58 characters of A-Z and 2-7";
    else if (crc16(raw, SEED_BYTES - 2) !=
             (uint16_t)(raw[SEED_BYTES - 2] | raw[SEED_BYTES - 1] << 8))
        wrong = "its check sum does not fit, something in it was changed";
    else if ((raw[0] & 0xF8) != KIND_SEED || ((raw[0] & 7) << 5 | raw[1] >> 3) != KIND_USER)
        wrong = "it is not a user's";
    else
        memcpy(key, raw + 2, KEY_BYTES);
    explicit_bzero(raw, sizeof raw);
    return wrong;
}

static bool public_of(const unsigned char key[KEY_BYTES], char text[NAQ_NKEY_TEXT]) {
    unsigned char raw[1 + KEY_BYTES + 2] = {KIND_USER};
    size_t n = KEY_BYTES;
    EVP_PKEY *pair = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, key, KEY_BYTES);
    bool good = pair != NULL && EVP_PKEY_get_raw_public_key(pair, raw + 1, &n) == 1;
    EVP_PKEY_free(pair); /* wipes its copy */
    if (!good) {
        ERR_clear_error(); /* a leftover would be read as the failure of a later TLS call */
        return false;
    }
    uint16_t crc = crc16(raw, 1 + KEY_BYTES);
    raw[1 + KEY_BYTES] = (unsigned char)crc;
    raw[2 + KEY_BYTES] = (unsigned char)(crc >> 8);
    to_base32(raw, sizeof raw, text);
    return true;
}

/* Reads past stdio's buffer, which would keep a copy of the secret. */
static naq_status read_file(const char *what, const char *path, char text[FILE_MAX], naq_err *err) {
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return naq_fail(err, NAQ_CONFIGURATION, "%s %s cannot be read: %s", what, path,
                        strerror(errno));
    (void)setvbuf(f, NULL, _IONBF, 0);
    size_t n = fread(text, 1, FILE_MAX - 1, f);
    int why = ferror(f) ? errno : 0;
    fclose(f);
    text[n] = '\0';
    if (why != 0)
        return naq_fail(err, NAQ_CONFIGURATION, "%s %s cannot be read: %s", what, path,
                        strerror(why));
    if (n == FILE_MAX - 1)
        return naq_fail(err, NAQ_CONFIGURATION, "%s %s is too large to be one", what, path);
    return NAQ_OK;
}

/* The first word on a line of its own that looks like a seed; its length in n. */
static const char *find_seed(const char *text, size_t *n) {
    for (const char *line = text; line != NULL && *line != '\0';) {
        line += strspn(line, " \t\r\n");
        *n = strcspn(line, " \t\r\n");
        if (line[0] == 'S' && line[1] >= 'A' && line[1] <= 'Z') return line;
        line += strcspn(line, "\r\n");
    }
    return NULL;
}

static naq_status check_seed(const char *what, const char *path, const char *text,
                             char public_key[NAQ_NKEY_TEXT], naq_err *err) {
    size_t n = 0;
    const char *seed = find_seed(text, &n);
    unsigned char key[KEY_BYTES];
    if (seed == NULL)
        return naq_fail(err, NAQ_CONFIGURATION, "%s %s holds no seed (SU...)", what, path);
    const char *wrong = read_seed(seed, n, key);
    if (wrong == NULL && !public_of(key, public_key)) wrong = "OpenSSL cannot use it (no Ed25519)";
    explicit_bzero(key, sizeof key);
    if (wrong == NULL) return NAQ_OK;
    return naq_fail(err, NAQ_CONFIGURATION, "%s %s: the seed is not valid: %s", what, path, wrong);
}

naq_status naq_nkey_public(const char *path, char public_key[NAQ_NKEY_TEXT], naq_err *err) {
    char text[FILE_MAX];
    naq_status status = read_file("nkey_seed_file", path, text, err);
    if (status == NAQ_OK) status = check_seed("nkey_seed_file", path, text, public_key, err);
    explicit_bzero(text, sizeof text);
    return status;
}

naq_status naq_creds_check(const char *path, naq_err *err) {
    char text[FILE_MAX], ignored[NAQ_NKEY_TEXT];
    naq_status status = read_file("creds_file", path, text, err);
    if (status == NAQ_OK) {
        const char *jwt = strstr(text, "-----BEGIN NATS USER JWT-----");
        const char *seed = strstr(text, "-----BEGIN USER NKEY SEED-----");
        if (jwt == NULL || seed == NULL)
            status = naq_fail(err, NAQ_CONFIGURATION, "creds_file %s holds no %s", path,
                              jwt == NULL ? "JWT (-----BEGIN NATS USER JWT-----)"
                                          : "seed (-----BEGIN USER NKEY SEED-----)");
        else
            status = check_seed("creds_file", path, strchr(seed, '\n') != NULL ? seed : "", ignored,
                                err);
    }
    explicit_bzero(text, sizeof text);
    return status;
}
