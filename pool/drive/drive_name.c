/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Names, roles and domains: the words that people use for a drive.
 */
#include "pool/drive/drive.h"

#include "base/text.h"
#include <stdio.h>
#include <string.h>

static const char *const role_names[] = {
    [META_ROLE_DATA] = "data",
    [META_ROLE_REMOVABLE] = "removable",
    [META_ROLE_PARITY] = "parity",
    [META_ROLE_CACHE] = "cache",
    [META_ROLE_READONLY] = "readonly",
};

const char *pool_role_name(enum meta_role role)
{
    return role_names[role];
}

mrmr_err pool_role_parse(const char *text, enum meta_role *ret_role)
{
    for (enum meta_role role = META_ROLE_DATA; role <= META_ROLE_PARITY; role++) {
        if (strcmp(text, role_names[role]) == 0) {
            *ret_role = role;
            return MRMR_OK;
        }
    }
    bool later = strcmp(text, role_names[META_ROLE_CACHE]) == 0 ||
                 strcmp(text, role_names[META_ROLE_READONLY]) == 0;
    mrmr_err err = later ? MRMR_UNSUPPORTED : MRMR_INVALID;
    mrmr_fail(err,
        later ? "the role '%.40s' is not there yet in this version" : "there is no role '%.40s'",
        text);
    return mrmr_err_hint(err, "say data (files and parity), removable (files only) or parity");
}

const char *pool_state_name(enum meta_drive_state state)
{
    static const char *const names[] = {
        [META_DRIVE_ACTIVE] = "active",
        [META_DRIVE_REBUILDING] = "rebuilding",
        [META_DRIVE_RETIRED] = "retired",
    };
    return names[state];
}

/* --- Names --- */

static bool name_byte_ok(unsigned char c)
{
    return c > 0x20 && c != 0x7f && c != '/';
}

mrmr_err pool_drive_name_check(const char *name)
{
    size_t size = strlen(name);
    bool ok = size > 0 && size < sizeof((struct meta_drive *)0)->name && name[0] != '-' &&
              name[0] != '.' && mrmr_text_is_utf8(name, size);
    for (size_t i = 0; ok && i < size; i++)
        ok = name_byte_ok((unsigned char)name[i]);
    if (ok)
        return MRMR_OK;
    mrmr_fail(MRMR_INVALID, "'%.70s' cannot be a drive's name", name);
    return mrmr_err_hint(MRMR_INVALID, "use 1 to 63 bytes of text without spaces, control "
                                       "characters and '/', not beginning with '-' or '.'");
}

/* The URI's last component without the query of a mem:// URI, with what a name may not hold
 * replaced. */
static void name_from_uri(const char *uri, char *name, size_t size)
{
    size_t end = strcspn(uri, "?");
    while (end > 0 && uri[end - 1] == '/')
        end--;
    size_t start = end;
    while (start > 0 && uri[start - 1] != '/')
        start--;
    while (start < end && (uri[start] == '.' || uri[start] == '-'))
        start++;
    size_t n = end - start < size - 1 ? end - start : size - 1;
    bool utf8 = mrmr_text_is_utf8(uri + start, n);
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)uri[start + i];
        name[i] = name_byte_ok(c) && (utf8 || c < 0x80) ? (char)c : '_';
    }
    name[n] = '\0';
    if (n == 0)
        snprintf(name, size, "drive");
}

mrmr_err pool_drive_name_make(struct pool *pool, const char *uri, char ret_name[64])
{
    char base[56], name[64];
    name_from_uri(uri, base, sizeof base);
    snprintf(name, sizeof name, "%s", base);
    for (unsigned i = 2; pool_drive_by_name(pool, name); i++)
        snprintf(name, sizeof name, "%s-%u", base, i);
    memcpy(ret_name, name, sizeof name);
    return pool_drive_name_check(name);
}

/* --- Domains --- */

static bool domain_used(struct pool *pool, const char *domain)
{
    for (size_t i = 0; i < pool->ndrives; i++)
        if (strcmp(pool->drives[i]->meta.domain, domain) == 0)
            return true;
    return false;
}

mrmr_err pool_domain_check(const char *domain)
{
    size_t size = strlen(domain);
    bool ok = size > 0 && size < sizeof((struct meta_drive *)0)->domain &&
              mrmr_text_is_utf8(domain, size);
    for (size_t i = 0; ok && i < size; i++)
        ok = (unsigned char)domain[i] >= 0x20 && domain[i] != 0x7f;
    if (ok)
        return MRMR_OK;
    mrmr_fail(MRMR_INVALID, "'%.130s' cannot be a domain", domain);
    return mrmr_err_hint(MRMR_INVALID,
        "a domain is 1 to 127 bytes of text; drives of the same domain fail together");
}

mrmr_err pool_drive_domain_make(
    struct pool *pool, const char *uri, const char *name, char ret_domain[128])
{
    const char *host = strstr(uri, "://");
    if (host && strncmp(uri, "mem:", 4) != 0 && strncmp(uri, "local:", 6) != 0) {
        host += 3;
        size_t n = strcspn(host, "/");
        const char *at = memchr(host, '@', n);
        if (at) {
            n -= (size_t)(at + 1 - host);
            host = at + 1;
        }
        snprintf(ret_domain, 128, "%.*s", (int)(n < 127 ? n : 127), host);
        return MRMR_OK;
    }
    /* A drive may have been renamed since its name became its domain: two drives shall not share
     * one by accident. */
    char domain[128];
    snprintf(domain, sizeof domain, "%s", name);
    for (unsigned i = 2; domain_used(pool, domain); i++)
        snprintf(domain, sizeof domain, "%s-%u", name, i);
    memcpy(ret_domain, domain, sizeof domain);
    return MRMR_OK;
}
