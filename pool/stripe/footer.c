/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pool/stripe/footer.h"

#include <inttypes.h>
#include <string.h>

static void footer_put(uint8_t *at, size_t bytes, uint64_t value)
{
    for (size_t i = 0; i < bytes; i++)
        at[i] = (uint8_t)(value >> (8 * i));
}

static uint64_t footer_get(const uint8_t *at, size_t bytes)
{
    uint64_t value = 0;
    for (size_t i = 0; i < bytes; i++)
        value |= (uint64_t)at[i] << (8 * i);
    return value;
}

/* Of a footer of any version: its bytes with the digest's own zero. */
static struct mrmr_digest footer_digest(const uint8_t *footer, size_t size)
{
    uint8_t bytes[POOL_FOOTER_SIZE_MAX];
    memcpy(bytes, footer, size);
    memset(bytes + size - POOL_FOOTER_SIZE_MIN, 0, MRMR_DIGEST_SIZE);
    return mrmr_digest_of(bytes, size);
}

void pool_footer_print(const struct pool_footer *footer, uint8_t ret_bytes[POOL_FOOTER_SIZE])
{
    struct pool_footer_disk disk;
    memset(&disk, 0, sizeof disk);
    footer_put(disk.payload_length, 8, footer->payload_length);
    footer_put(disk.manifest_length, 8, footer->manifest_length);
    memcpy(disk.payload_digest, &footer->payload, MRMR_DIGEST_SIZE);
    memcpy(disk.manifest_digest, &footer->manifest, MRMR_DIGEST_SIZE);
    footer_put(disk.version, 4, POOL_PARITY_VERSION);
    footer_put(disk.footer_size, 4, POOL_FOOTER_SIZE);
    memcpy(disk.magic, POOL_PARITY_MAGIC, sizeof disk.magic);
    struct mrmr_digest digest = footer_digest((const uint8_t *)&disk, sizeof disk);
    memcpy(disk.footer_digest, &digest, sizeof digest);
    memcpy(ret_bytes, &disk, sizeof disk);
}

/* What holds for every version: the tail, and the digest before it. */
static mrmr_err footer_check_whole(
    const uint8_t *tail, size_t size, uint64_t file_size, size_t *ret_footer_size)
{
    if (size < POOL_FOOTER_SIZE_MIN || file_size < size)
        return mrmr_fail(
            MRMR_TRUNCATED, "it has %" PRIu64 " bytes, too few for a footer", file_size);
    const uint8_t *end = tail + size;
    if (memcmp(end - 8, POOL_PARITY_MAGIC, 8) != 0)
        return mrmr_fail(
            MRMR_FORMAT, "it does not end in a footer: it was cut short, or is no parity file");
    uint64_t footer_size = footer_get(end - 12, 4);
    if (footer_size < POOL_FOOTER_SIZE_MIN || footer_size > POOL_FOOTER_SIZE_MAX)
        return mrmr_fail(MRMR_FORMAT, "its footer claims %" PRIu64 " bytes", footer_size);
    if (footer_size > size)
        return mrmr_fail(MRMR_TRUNCATED, "it is shorter than its footer");
    const uint8_t *footer = end - footer_size;
    struct mrmr_digest want, got = footer_digest(footer, footer_size);
    memcpy(&want, end - POOL_FOOTER_SIZE_MIN, sizeof want);
    if (!mrmr_digest_equal(&want, &got))
        return mrmr_fail(MRMR_DIGEST, "its footer does not match the footer's own digest");
    *ret_footer_size = footer_size;
    return MRMR_OK;
}

static mrmr_err footer_check_lengths(const struct pool_footer *footer, uint64_t file_size)
{
    uint64_t payload = footer->payload_length, manifest = footer->manifest_length;
    if (payload == 0 || payload > POOL_PARITY_LENGTH_MAX)
        return mrmr_fail(MRMR_FORMAT, "a payload of %" PRIu64 " bytes is out of bounds", payload);
    if (manifest == 0 || manifest > pool_manifest_limit(payload))
        return mrmr_fail(MRMR_FORMAT, "a manifest of %" PRIu64 " bytes is out of bounds", manifest);
    if (payload + manifest + POOL_FOOTER_SIZE != file_size)
        return mrmr_fail(
            payload + manifest + POOL_FOOTER_SIZE > file_size ? MRMR_TRUNCATED : MRMR_FORMAT,
            "payload, manifest and footer of %" PRIu64 " + %" PRIu64
            " + %d bytes do not make a file of %" PRIu64,
            payload, manifest, POOL_FOOTER_SIZE, file_size);
    return MRMR_OK;
}

mrmr_err pool_footer_parse(
    const uint8_t *tail, size_t size, uint64_t file_size, struct pool_footer *ret_footer)
{
    size_t footer_size = 0;
    mrmr_err err = footer_check_whole(tail, size, file_size, &footer_size);
    if (err)
        return err;
    uint64_t version = footer_get(tail + size - POOL_FOOTER_TAIL, 4);
    if (version > POOL_PARITY_VERSION)
        return mrmr_err_hint(
            mrmr_fail(MRMR_NEWER, "it has format version %" PRIu64 "; this program knows %d",
                version, POOL_PARITY_VERSION),
            "use a program at least as new as the one that made it");
    if (version != POOL_PARITY_VERSION || footer_size != POOL_FOOTER_SIZE)
        return mrmr_fail(
            MRMR_FORMAT, "no footer of version %" PRIu64 " has %zu bytes", version, footer_size);
    struct pool_footer_disk disk;
    memcpy(&disk, tail + size - footer_size, sizeof disk);
    struct pool_footer footer = {
        .payload_length = footer_get(disk.payload_length, 8),
        .manifest_length = footer_get(disk.manifest_length, 8),
    };
    memcpy(&footer.payload, disk.payload_digest, MRMR_DIGEST_SIZE);
    memcpy(&footer.manifest, disk.manifest_digest, MRMR_DIGEST_SIZE);
    err = footer_check_lengths(&footer, file_size);
    if (!err)
        *ret_footer = footer;
    return err;
}
