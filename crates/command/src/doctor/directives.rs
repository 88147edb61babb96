//! The configuration as httpd has read it: what `-t -D DUMP_CONFIG` prints, as directives with the sections around them.
//! Includes, conditions and variables have been resolved by httpd.

use crate::options::words;

/// A line of the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Directive {
    /// As in `WSGIScriptAlias`.
    pub(super) name: String,
    /// Its arguments, without quotes.
    pub(super) arguments: Vec<String>,
    /// The file and line that it stands in.
    pub(super) place: String,
    /// The number of its virtual host, from 1; `None` is the main server.
    pub(super) host: Option<usize>,
    /// How many other sections it stands in.
    pub(super) depth: usize,
}

impl Directive {
    pub(super) fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    /// The value of `name=value` among the arguments.
    pub(super) fn option(&self, name: &str) -> Option<&str> {
        self.arguments.iter().find_map(|word| {
            let (known, value) = word.split_once('=')?;
            known.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    /// An argument by its number.
    pub(super) fn argument(&self, number: usize) -> Option<&str> {
        self.arguments.get(number).map(String::as_str)
    }
}

/// Reads what httpd has printed; other lines before and behind are left out.
pub(super) fn parse(text: &str) -> Vec<Directive> {
    let (mut found, mut file, mut number) = (Vec::new(), "", "");
    let (mut hosts, mut host, mut depth) = (0, None, 0);
    let dump = text.lines().skip_while(|line| !line.starts_with("# In file: "));
    for line in dump.map(str::trim).take_while(|line| !line.starts_with("ServerRoot: \"")) {
        if let Some(name) = line.strip_prefix("# In file: ") {
            file = name;
        } else if let Some(rest) = line.strip_prefix('#') {
            number = rest.trim().trim_end_matches(':');
        } else if let Some(section) = line.strip_prefix("</") {
            match section.eq_ignore_ascii_case("VirtualHost>") {
                true => host = None,
                false => depth = usize::saturating_sub(depth, 1),
            }
        } else if line.get(..12).is_some_and(|start| start.eq_ignore_ascii_case("<VirtualHost")) {
            hosts += 1;
            host = Some(hosts);
        } else if line.starts_with('<') {
            depth += 1;
        } else if !line.is_empty() {
            let (name, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
            found.push(Directive {
                name: name.to_owned(),
                arguments: words(rest),
                place: format!("{file}:{number}"),
                host,
                depth,
            });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directives_have_their_sections_and_places() {
        let text = "*:80 b (h.conf:17)\n# In file: /etc/h.conf\n#   3:\nUser www-data\n#  17:\n\
                    <VirtualHost *:80>\n  #  19:\n  WSGIScriptAlias / \"/srv/a b/app.wsgi\" process-group=site\n\
                    \x20 #  20:\n  <Directory \"/srv/a b\">\n    #  21:\n    Require all granted\n  </Directory>\n\
                    </VirtualHost>\n#  30:\nTimeout 5\nServerRoot: \"/etc\"\nUser: name=\"x\"\n";
        let found = parse(text);
        let names: Vec<&str> = found.iter().map(|directive| &*directive.name).collect();
        assert_eq!(names, ["User", "WSGIScriptAlias", "Require", "Timeout"]);
        assert_eq!(found[1].arguments, ["/", "/srv/a b/app.wsgi", "process-group=site"]);
        assert_eq!(found[1].option("Process-Group"), Some("site"));
        assert_eq!((found[1].host, found[1].depth), (Some(1), 0));
        assert_eq!((found[2].host, found[2].depth), (Some(1), 1));
        assert_eq!((found[3].host, found[3].place.as_str()), (None, "/etc/h.conf:30"));
    }
}
