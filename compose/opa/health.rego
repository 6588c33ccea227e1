# The health check of OPA: the server answers, and has the policies. Evaluated by `opa eval` in its own container, which has
# no other program.
package carapulse.health

serving if {
	answer := http.send({
		"method": "get",
		"url": "http://127.0.0.1:8181/v1/data/policy/assistant/v1",
		"timeout": "2s",
	})
	answer.status_code == 200
	answer.body.result
}
