"""The directives: where each may stand, and a value each takes."""

import pytest

# Where each may stand: Server, Virtual host, Directory; in .htaccess under FileInfo or AuthConfig.
# With a value it takes.
DIRECTIVES = {
    "WSGIScriptAlias": ("SV", "/a /b.py"),
    "WSGIScriptAliasMatch": ("SV", "^/a /b.py"),
    "WSGIDaemonProcess": ("SV", "site"),
    "WSGIImportScript": ("SV", "/a.py process-group=%{GLOBAL} application-group=a"),
    "WSGISocketPrefix": ("S", "run/wsgi"),
    "WSGISocketRotation": ("S", "Off"),
    "WSGIAcceptMutex": ("S", "default"),
    "WSGIVerboseDebugging": ("S", "Off"),
    "WSGIDontWriteBytecode": ("S", "On"),
    "WSGIPythonWarnings": ("S", "ignore"),
    "WSGIPythonOptimize": ("S", "1"),
    "WSGIPythonHome": ("S", "/usr"),
    "WSGIPythonEggs": ("S", "/tmp"),
    "WSGIPythonHashSeed": ("S", "7"),
    "WSGIDestroyInterpreter": ("S", "Off"),
    "WSGIRestrictEmbedded": ("S", "On"),
    "WSGICaseSensitivity": ("S", "Off"),
    "WSGIServerMetrics": ("S", "On"),
    "WSGITelemetryService": ("S", "unix:/run/telemetry.sock interval=2"),
    "WSGITelemetryOptions": ("S", "CaptureUserAgent"),
    "WSGISlowRequests": ("S", "1.5"),
    "WSGIPythonPath": ("SI", "/usr/share"),
    "WSGISwitchInterval": ("SI", "0.01"),
    "WSGIPerInterpreterGIL": ("SI", "Off"),
    "WSGIFreeThreading": ("SI", "Off"),
    "WSGIRestrictStdin": ("SI", "On"),
    "WSGIRestrictStdout": ("SI", "On"),
    "WSGIPrintLevel": ("SI", "info"),
    "WSGILogFormat": ("SI", "json"),
    "WSGIRestrictSignal": ("SI", "Off"),
    "<WSGIInterpreterOptions": ("S", "application-group=a>\n</WSGIInterpreterOptions>"),
    "WSGIRestrictProcess": ("SVD", "site other"),
    "WSGIProcessGroup": ("SVD", "%{GLOBAL}"),
    "WSGIApplicationGroup": ("SVD", "a"),
    "WSGIDispatchScript": ("SVD", "/a.py"),
    "WSGIPassApacheRequest": ("SVD", "On"),
    "WSGIHandlerScript": ("SVD", "name /a.py"),
    "WSGICallableObject": ("SVDF", "a"),
    "WSGIPassAuthorization": ("SVDF", "On"),
    "WSGIScriptReloading": ("SVDF", "Off"),
    "WSGIErrorOverride": ("SVDF", "On"),
    "WSGIChunkedRequest": ("SVDF", "On"),
    "WSGIMapHEADToGET": ("SVDF", "Auto"),
    "WSGIIgnoreActivity": ("SVDF", "On"),
    "WSGIEnableSendfile": ("SVDF", "On"),
    "WSGIStatusRequestLines": ("SVD", "Path"),
    "WSGITrustedProxyHeaders": ("SVDF", "X-Forwarded-For"),
    "WSGITrustedProxies": ("SVDF", "10.0.0.0/8 ::1"),
    "WSGIAccessScript": ("DA", "${APPS}/access.py"),
    "WSGIAuthUserScript": ("DA", "/a.py"),
    "WSGIAuthGroupScript": ("DA", "/a.py application-group=a"),
    "WSGIGroupAuthoritative": ("DA", "Off"),
}
# Those that mod_wsgi does not have.
NEW = frozenset({"WSGILogFormat", "WSGIPrintLevel", "WSGIStatusRequestLines"})
# What mod_wsgi 4 and 5 had.
FORMER = {
    "WSGILazyInitialization": ("S", "On"),
    "WSGIPy3kWarningFlag": ("S", "On"),
    "WSGINewRelicConfigFile": ("S", "/etc/newrelic.ini"),
    "WSGINewRelicEnvironment": ("S", "production"),
    "WSGIUserAuthoritative": ("DA", "On"),
}
PLACES = {
    "S": ["{}"],
    "V": ["<VirtualHost *>\n{}\n</VirtualHost>"],
    "D": [
        "<Directory /srv>\n{}\n</Directory>",
        "<Location /x>\n{}\n</Location>",
        "<Files x>\n{}\n</Files>",
        '<If "true">\n{}\n</If>',
        "<VirtualHost *>\n<DirectoryMatch ^/s>\n{}\n</DirectoryMatch>\n</VirtualHost>",
    ],
    "I": ["<WSGIInterpreterOptions>\n{}\n</WSGIInterpreterOptions>"],
}


def plain(name):
    return name.removeprefix("<")


def params(names):
    """The names as parameters of a test; those that mod_wsgi does not have are for this module."""
    mark = pytest.mark.ours_only("mod_wsgi does not have the directive")
    return [
        pytest.param(name, id=plain(name), marks=[mark] if name in NEW else []) for name in names
    ]
