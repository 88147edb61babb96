//! What runs behind this server, other servers and scripts of services, and the proxies before it.

use super::address_block::AddressBlock;
use super::content::pairs;
use super::facts::Facts;
use super::logs;
use serde::Serialize;

#[derive(Debug, Serialize)]
pub(super) struct Behind {
    proxies: Vec<Proxy>,
    proxy_hosts: Vec<ProxyHost>,
    services: Vec<Service>,
    /// Where the PROXY protocol is spoken: which peers do not.
    peers_without_protocol: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Proxy {
    path: String,
    url: String,
    prefix: String,
}

#[derive(Debug, Serialize)]
struct ProxyHost {
    host: String,
    url: String,
}

#[derive(Debug, Serialize)]
struct Service {
    name: String,
    script: String,
    user: Option<String>,
    group: Option<String>,
    log: Option<String>,
}

impl Behind {
    pub(super) fn new(facts: &Facts<'_>) -> Self {
        let (proxying, services) = (&facts.options.proxying, &facts.options.services);
        // Both end with a slash, so that what follows is joined as it was asked for.
        let proxy = |(path, url): (String, String)| Proxy {
            prefix: path.trim_end_matches('/').to_owned(),
            path: format!("{}/", path.trim_end_matches('/')),
            url: format!("{}/", url.trim_end_matches('/')),
        };
        let (users, groups) = (pairs(&services.service_user), pairs(&services.service_group));
        let files = pairs(&services.service_log_file);
        let of = |pairs: &[(String, String)], name: &str| {
            pairs.iter().find(|(service, _)| service == name).map(|(_, value)| value.clone())
        };
        let service = |(name, script): (String, String)| Service {
            script: Facts::path(script.as_ref()),
            user: of(&users, &name),
            group: of(&groups, &name),
            log: of(&files, &name).map(|file| logs::file(facts, &file)),
            name,
        };
        Self {
            proxies: pairs(&proxying.proxy_mount_point).into_iter().map(proxy).collect(),
            proxy_hosts: pairs(&proxying.proxy_virtual_host)
                .into_iter()
                .map(|(host, url)| ProxyHost { host, url })
                .collect(),
            services: pairs(&services.service_script).into_iter().map(service).collect(),
            peers_without_protocol: if proxying.proxy_protocol {
                peers_without_protocol(&proxying.trust_proxy)
            } else {
                Vec::new()
            },
        }
    }
}

/// All but the trusted proxies.
fn peers_without_protocol(trusted: &[String]) -> Vec<String> {
    let trusted: Vec<_> = trusted.iter().filter_map(|text| AddressBlock::parse(text)).collect();
    AddressBlock::outside_of(&trusted).iter().map(AddressBlock::to_string).collect()
}
