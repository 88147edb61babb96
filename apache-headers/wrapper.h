/* Everything of Apache and APR that the module may use. The only list of includes. */
#include "httpd.h"
#include "http_config.h"
#include "http_connection.h"
#include "http_core.h"
#include "http_log.h"
#include "http_main.h"
#include "http_protocol.h"
#include "http_request.h"
#include "http_vhost.h"
#include "mod_auth.h"
#include "util_filter.h"
#include "util_script.h"
#include "ap_listen.h"
#include "ap_mpm.h"
#include "ap_release.h"
#include "ap_regex.h"
#include "mpm_common.h"
#include "scoreboard.h"
#include "unixd.h"
#include "apr_base64.h"
#include "apr_buckets.h"
#include "apr_errno.h"
#include "apr_file_io.h"
#include "apr_optional.h"
#include "apr_pools.h"
#include "apr_portable.h"
#include "apr_sha1.h"
#include "apr_strings.h"
#include "apr_tables.h"
#include "apr_user.h"

/* Macros bindgen cannot see, each as one function without a branch of its own (shim.c). */
void shim_hook_child_stopping(void (*stopping)(apr_pool_t *child, int graceful));
int shim_request_level(const request_rec *r, int module_index);
int shim_server_level(const server_rec *s, int module_index);
apr_bucket *shim_brigade_first(apr_bucket_brigade *bb);
void shim_brigade_append(apr_bucket_brigade *bb, apr_bucket *b);
int shim_brigade_empty(const apr_bucket_brigade *bb);
int shim_bucket_is_eos(const apr_bucket *b);
int shim_bucket_is_metadata(const apr_bucket *b);
apr_status_t shim_bucket_read(apr_bucket *b, const char **data, apr_size_t *length);
apr_status_t shim_bucket_split(apr_bucket *b, apr_size_t point);
apr_status_t shim_bucket_setaside(apr_bucket *b, apr_pool_t *p);
void shim_bucket_remove(apr_bucket *b);
void shim_bucket_delete(apr_bucket *b);
const char *shim_register_https_lookup(void);
int shim_request_is_https(request_rec *r);
const char *shim_tls_variable(request_rec *r, const char *name);
int shim_status_is_timeup(apr_status_t s);
int shim_status_is_eof(apr_status_t s);
int shim_status_is_reset(apr_status_t s);
int shim_status_is_enospc(apr_status_t s);
int shim_status_is_again(apr_status_t s);
int shim_method_is_get(const request_rec *r);
void shim_brigade_drop_flushes(apr_bucket_brigade *bb);
