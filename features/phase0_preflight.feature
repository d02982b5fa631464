@phase0
Feature: Preflight: what was ordered has arrived and can be reached
  Before anything is installed, the servers, the switches, the parameters and the installer medium
  are compared with the order. Nothing is changed in this phase.

  Scenario: The order does not contradict itself
    Then the order holds no contradiction that stops the work
    And every lesser contradiction is written into the report with what to do instead

  Scenario: Every management controller answers to the stored credentials
    Then each server's management controller accepts the credentials on file over a verified connection

  Scenario: Every management controller is the one it claims to be
    Then each management controller reports the serial number of its own server

  Scenario: The servers are as ordered
    Then each server has the ordered processors, memory, drives and network ports as far as its controller tells

  Scenario: The management controllers keep time and a log
    Then each management controller's clock is within 2 minutes of ours
    And each management controller's event log can be read

  Scenario: The switch ports are as ordered
    Then each server's switch ports are enabled and carry exactly the ordered networks, all tagged

  Scenario: The parameter tree is complete and well formed
    Then every ordered parameter exists and can be read
    And every secret among them is stored encrypted
    And every address and subnet among them is valid, unique and the same as in the order

  @criterion-9
  Scenario: The nodes' role can read what it needs and nothing else
    Then the nodes' role reads the cluster's parameters
    And the nodes' role can neither read nor write outside of them
    And the nodes' role can neither delete a parameter nor change a secret
    And the policies of the role and of the key hold no known mistake

  Scenario: Backups have a place to go
    Then an object can be written to the backup bucket, read back and removed
    And the backup key encrypts and decrypts

  Scenario: The installer medium is genuine
    Then the installer medium is present and its checksum is the published one

  Scenario: Names and time are served
    Then each ordered name server resolves
    And each ordered time server answers with synchronised time

  Scenario: The directory and the file service can be reached
    Then the ordered directory and file service answer
