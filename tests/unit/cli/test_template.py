"""Go templates: what text/template gives for the same template and value."""

from __future__ import annotations

from typing import Any

import pytest

from cais.cli.table import Row
from cais.cli.template import Template, TemplateError

DOCUMENT: dict[str, Any] = {
    "Id": "sha256:abc",
    "Size": 123,
    "Ratio": 0.5,
    "On": True,
    "Config": {"Env": ["A=1", "B=2"], "Labels": {"x": "y", "b": "c"}, "Cmd": None, "ExposedPorts": None, "User": ""},
    "State": {"Pid": 7},
    "Mounts": [{"Name": "a", "RW": True}, {"Name": "b", "RW": False}],
}


def run(template: str, dot: Any = DOCUMENT) -> str:
    return Template(template).run(dot)


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("plain", "plain"),
        ("{{.Id}}", "sha256:abc"),
        ("{{ .Size }}/{{.Ratio}}/{{.On}}", "123/0.5/true"),
        ("{{.Config.Env}} {{.Config.Labels}}", "[A=1 B=2] map[b:c x:y]"),
        ("{{.Config.Cmd}} {{.Config.ExposedPorts}}", "[] map[]"),
        ("{{.Config.Labels.nope}}", "<no value>"),
        ("{{.Config.Labels.nope.x}}", "<no value>"),
        ("{{.ID}}", "sha256:abc"),
        ('{{index .Config.Labels "x"}}{{index .Config.Labels "nope"}}', "y"),
        ("{{index .Config.Env 1}}", "B=2"),
        ("{{(index .Mounts 0).Name}}", "a"),
        ("{{range .Config.Env}}<{{.}}>{{end}}", "<A=1><B=2>"),
        ("{{range $i, $e := .Config.Env}}{{if $i}}, {{end}}{{$e}}{{end}}", "A=1, B=2"),
        ("{{range $k, $v := .Config.Labels}}{{$k}}={{$v}};{{end}}", "b=c;x=y;"),
        ("{{range .Config.Cmd}}x{{else}}none{{end}}", "none"),
        ("{{range .Config.Env}}{{if eq . \"B=2\"}}{{break}}{{end}}{{.}}{{end}}", "A=1"),
        ("{{range .Config.Env}}{{if eq . \"A=1\"}}{{continue}}{{end}}{{.}}{{end}}", "B=2"),
        ("{{range 3}}{{.}}{{end}}", "012"),
        ("{{if .Config.User}}a{{else if .On}}b{{else}}c{{end}}", "b"),
        ("{{with .State}}{{.Pid}}{{$.Size}}{{end}}", "7123"),
        ("{{with .Config.User}}x{{else}}y{{end}}", "y"),
        ("{{$x := .Size}}{{if .On}}{{$x = 5}}{{end}}{{$x}}", "5"),
        ("{{and .On .Size}} {{or .Config.User .Id}} {{not .On}}", "123 sha256:abc false"),
        ("{{and .Config.User (index .Mounts 99)}}", ""),
        ("{{eq .Size 1 2 123}}{{ne .Id \"x\"}}{{lt 1 2}}{{le 2 2}}{{gt 1 2}}{{ge 2 3}}", "truetruetruetruefalsefalse"),
        ("{{len .Config.Env}} {{len .Id}}", "2 10"),
        ("{{slice .Id 7}} {{slice .Id 0 6}}", "abc sha256"),
        ('{{printf "%-5s|%5d|%05d|%q|%v|%x|%t|%.2f" "a" 7 7 "q" .On "hi" .On .Ratio}}',
         'a    |    7|00007|"q"|true|6869|true|0.50'),
        ('{{printf "%d"}} {{printf "x" 1}} {{printf "%d" "s"}}', "%!d(MISSING) x%!(EXTRA int=1) %!d(string=s)"),
        ("{{print 1 2 \"a\" \"b\" 3}}", "1 2ab3"),
        ("{{println .Id}}", "sha256:abc\n"),
        ("{{json .Config.Env}}{{json .Config.Cmd}}{{json .State}}", '["A=1","B=2"]null{"Pid":7}'),
        ('{{json "<&>é"}}', '"<&>é"'),
        ('{{join .Config.Env ","}} {{split "a:b" ":"}} {{upper "a"}}{{lower "B"}} {{title "ab cd"}}',
         "A=1,B=2 [a b] Ab Ab Cd"),
        ('{{pad "x" 1 2}}| {{pad "" 1 2}}|', " x  | |"),
        ('{{truncate .Id 3}}', "sha"),
        ('{{.Id | printf "%s-%s" "x"}}', "x-sha256:abc"),
        ('{{ "quoted \\" \\x41 \\u00e9" }}', 'quoted " A é'),
        ("{{ `raw \\n` }}{{ 'a' }}", "raw \\n97"),
        ("a {{- 1 -}} b", "a1b"),
        ("a {{/* comment */ -}} b{{- /* c */}}", "a b"),
        ("{{ 0x10 }} {{ -1 }} {{ 1e3 }} {{ true }}", "16 -1 1000 true"),
        ('{{html "<a>"}} {{urlquery "a b&"}}', "&lt;a&gt; a+b%26"),
        ("{{if false}}{{end}}x", "x"),
    ],
)  # fmt: skip
def test_values(template: str, text: str) -> None:
    assert run(template) == text


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{.Foo", "template: :1: unclosed action"),
        ("a\n{{.Foo", "template: :2: unclosed action"),
        ("{{foo}}", 'template: :1: function "foo" not defined'),
        ("{{$x}}", 'template: :1: undefined variable "$x"'),
        ("{{end}}", "template: :1: unexpected {{end}}"),
        ("{{if .On}}x", "template: :1: unexpected EOF"),
        ("{{}}", "template: :1: missing value for command"),
        ("{{if}}{{end}}", "template: :1: missing value for if"),
        ("{{break}}", "template: :1: {{break}} outside {{range}}"),
        ('{{"abc}}', "template: :1: unterminated quoted string"),
        ("{{/* a }}", "template: :1: unclosed comment"),
        ('{{define "x"}}{{end}}', "template: :1: {{define}} is not supported"),
        ("{{.Nope}}", 'template: :1:2: executing "" at <.Nope>: map has no entry for key "Nope"'),
        ("{{.Config.Nope.X}}", 'template: :1:9: executing "" at <.Config.Nope.X>: map has no entry for key "Nope"'),
        ("{{.Id.X}}", 'template: :1:5: executing "" at <.Id.X>: can\'t evaluate field X in type string'),
        (
            "{{index .Config.Env 5}}",
            'template: :1:2: executing "" at <index>: error calling index: index out of range: 5',
        ),
        (
            "{{eq .Size .Id}}",
            'template: :1:2: executing "" at <eq>: error calling eq: incompatible types for comparison',
        ),
        ("{{len 3}}", 'template: :1:2: executing "" at <len>: error calling len: len of type int'),
        ("{{len}}", 'template: :1:2: executing "" at <len>: wrong number of args for len: want 1 got 0'),
        ("{{range .Size.X}}{{end}}", 'template: :1:13: executing "" at <.Size.X>: can\'t evaluate field X in type int'),
    ],
)
def test_errors(template: str, message: str) -> None:
    with pytest.raises(TemplateError) as raised:
        run(template)
    assert str(raised.value) == message


def test_rows_have_fields_and_methods() -> None:
    row = Row(
        {"name": "n"},
        {"Name": lambda item: item["name"], "ID": lambda item: "1"},
        "container",
        {"Label": lambda item: lambda key: f"<{key}>"},
    )
    assert run('{{.Name}} {{.Label "a"}}', row) == "n <a>"
    assert run("{{json .}}", row) == '{"ID":"1","Name":"n"}'
    assert run("{{json .}}", Row(None, {"A": lambda item: "<&>"})) == '{"A":"\\u003c\\u0026\\u003e"}'
    with pytest.raises(TemplateError, match=r"can't evaluate field X in type \*formatter\.ContainerContext"):
        run("{{.X}}", row)


def test_hostile_templates_end() -> None:
    for template in (
        "{{" * 50,
        "{{(" * 50 + ".Id" + ")}}",
        "{{if .On}}" * 50,
        "{{|}}",
        "{{.Id |}}",
        "{{. .}}",
        "{{,}}",
    ):
        with pytest.raises(TemplateError):
            run(template)


def test_what_a_document_leaves_out_is_asked_for_all_the_same() -> None:
    document = {
        "State": {"Status": "running"},
        "HostConfig": {"PidsLimit": None, "Dns": [], "CpuShares": 5},
        "Config": {"Cmd": None},
        "Networks": {"bridge": {"Aliases": None, "DNSNames": None, "IPAMConfig": None}},
    }
    for template, text in (
        ("{{if .State.Health}}{{.State.Health.Status}}{{else}}none{{end}}", "none"),
        ("{{.State.Health}} {{json .State.Health}}", "<nil> null"),
        ("{{.HostConfig.PidsLimit}} {{.HostConfig.Init}} {{.HostConfig.Sysctls}}", "<nil> <nil> map[]"),
        ("{{.Config.StopSignal}}|{{.Config.Healthcheck}}|{{.Config.NetworkDisabled}}", "|<nil>|false"),
        ("{{range .HostConfig.Mounts}}x{{end}}{{.Config.Shell}}{{.SizeRw}}", "[]<nil>"),
        ("{{.HostConfig.DNS}} {{.HostConfig.CPUShares}} {{.Config.ArgsEscaped}}{{.Config.MacAddress}}", "[] 5 false"),
        ("{{range .Networks}}{{.Aliases}} {{.DNSNames}} {{.IPAMConfig}}{{end}}", "[] [] <nil>"),
        ("{{.Networks.other.IPAddress}}", "<no value>"),
    ):
        assert Template(template).run(document) == text
    with pytest.raises(TemplateError, match="nil pointer"):
        Template("{{.State.Health.Status}}").run(document)
    with pytest.raises(TemplateError, match='map has no entry for key "state"'):
        Template("{{.state}}").run(document)
    with pytest.raises(TemplateError, match='map has no entry for key "Other"'):
        Template("{{.State.Other}}").run(document)


def test_what_are_structs_in_docker_are_printed_so():
    document = {
        "Ports": {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}], "99/udp": None},
        "ExposedPorts": {"8080/tcp": {}}, "Volumes": {"/var/lib": {}}, "Labels": {"a": ""}, "None": {},
        "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0},
        "LogConfig": {"Type": "json-file", "Config": {"max-file": "42"}},
        "IPAM": {"Driver": "default", "Options": None, "Config": [{"Subnet": "10.0.0.0/24", "Gateway": "10.0.0.1"}]},
        "IPAMConfig": {"IPv4Address": "10.77.0.5"},
        "Ulimits": [{"Hard": 20, "Name": "nofile", "Soft": 10}],
        "Mounts": [{"Type": "bind", "Source": "/a", "Destination": "/s", "Mode": "ro", "RW": False,
                    "Propagation": "rslave"}],
    }  # fmt: skip
    for field, text in {
        "Ports": "map[80/tcp:[{0.0.0.0 8080}] 99/udp:[]]",
        "ExposedPorts": "map[8080/tcp:{}]",
        "Volumes": "map[/var/lib:{}]",
        "Labels": "map[a:]",
        "None": "map[]",
        "RestartPolicy": "{no 0}",
        "LogConfig": "{json-file map[max-file:42]}",
        "IPAM": "{default map[] [{10.0.0.0/24  10.0.0.1 map[]}]}",
        "IPAMConfig": "{10.77.0.5  []}",
        "Ulimits": "[nofile=10:20]",
        "Mounts": "[{bind  /a /s  ro false rslave}]",
    }.items():
        assert Template("{{." + field + "}}").run(document) == text
